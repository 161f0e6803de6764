/** `node bench/profileReport.ts <file.cpuprofile> [top]`: where a profiled node's time went, by area and by function, without its idling. */
import { readFileSync } from "node:fs"

interface Profile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: ReadonlyArray<number>
  }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

const [file, top = "40"] = process.argv.slice(2)
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what V8 writes
const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file ?? "", "utf8")) as Profile

/** Self time in milliseconds by node. */
const self = new Map<number, number>()
samples.forEach((id, index) => self.set(id, (self.get(id) ?? 0) + (timeDeltas[index] ?? 0) / 1000))

const shorten = (url: string): string => url.replace(/^.*\/node_modules\//, "").replace(/^file:\/\/.*?\/(src|bench)\//, "$1/")

const areaOf = (name: string, url: string): string => {
  if (name === "(garbage collector)") return "garbage collection"
  if (name === "(program)") return "native code (system calls, compiler)"
  if (url.startsWith("node:")) return `node (${/^node:(internal\/)?(\w+)/.exec(url)?.[2] ?? "other"})`
  const path = shorten(url)
  if (path.startsWith("effect/")) {
    const inner = /^effect\/(?:dist|src)\/(?:internal\/)?([\w-]+)/.exec(path)?.[1] ?? "other"
    return ["rpc", "http", "socket", "sql", "cluster"].includes(inner) ? `effect/${inner}` : inner.startsWith("Schema") || inner === "schema" ? "effect/Schema" : "effect core"
  }
  if (path.startsWith("src/")) return path.split("/").slice(0, 2).join("/")
  return path === "" ? "built-in functions" : path.split("/").slice(0, path.startsWith("@") ? 2 : 1).join("/")
}

const sumBy = (keyOf: (frame: Profile["nodes"][number]["callFrame"]) => string) => {
  const sums = new Map<string, number>()
  for (const { callFrame, id } of nodes) {
    if (callFrame.functionName === "(idle)" || callFrame.functionName === "(root)") continue
    const key = keyOf(callFrame)
    sums.set(key, (sums.get(key) ?? 0) + (self.get(id) ?? 0))
  }
  return [...sums].toSorted(([, left], [, right]) => right - left)
}

/** With everything called from there; what calls itself counts once. */
const inclusive = () => {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const sums = new Map<string, number>()
  const walk = (id: number, open: ReadonlySet<string>): number => {
    const node = byId.get(id)!
    const path = shorten(node.callFrame.url)
    const key = path.startsWith("src/") ? `${path.split(":")[0]}:${node.callFrame.lineNumber + 1} ${node.callFrame.functionName || "(anonymous)"}` : ""
    const within = key === "" || open.has(key) ? open : new Set([...open, key])
    const time = (node.children ?? []).reduce((sum, child) => sum + walk(child, within), self.get(id) ?? 0)
    if (within !== open) sums.set(key, (sums.get(key) ?? 0) + time)
    return time
  }
  walk(nodes[0]!.id, new Set())
  return [...sums].toSorted(([, left], [, right]) => right - left)
}

const busy = sumBy(() => "")[0]?.[1] ?? 0
const print = (title: string, rows: ReadonlyArray<readonly [string, number]>, count: number) => {
  console.log(`\n${title}`)
  for (const [name, ms] of rows.slice(0, count)) {
    console.log(`  ${((ms / busy) * 100).toFixed(1).padStart(5)} %  ${ms.toFixed(0).padStart(6)} ms  ${name}`)
  }
}
console.log(`${busy.toFixed(0)} ms busy`)
print("By area", sumBy(({ functionName, url }) => areaOf(functionName, url)), 30)
print(
  "By function, itself alone",
  sumBy(({ functionName, lineNumber, url }) => `${functionName || "(anonymous)"}  ${shorten(url)}:${lineNumber + 1}`),
  Number(top)
)
print("Ours, with everything they call", inclusive(), Number(top))
