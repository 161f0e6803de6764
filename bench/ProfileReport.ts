/** Where a profiled node's time went: by area, by function, and by our own functions with all they call. Without its idling. */
import { Schema } from "effect"

const Profile = Schema.Struct({
  nodes: Schema.Array(
    Schema.Struct({
      id: Schema.Int,
      callFrame: Schema.Struct({ functionName: Schema.String, url: Schema.String, lineNumber: Schema.Int }),
      children: Schema.optionalKey(Schema.Array(Schema.Int))
    })
  ),
  samples: Schema.Array(Schema.Int),
  /** Microseconds before each sample. */
  timeDeltas: Schema.Array(Schema.Finite)
})
const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Profile))

type Frame = (typeof Profile.Type)["nodes"][number]["callFrame"]

/** Of the text of a `.cpuprofile` file. Times are of the clock: where processes share processors, waiting for one counts. */
export const reportOf = (text: string, rows = 30): string => {
  const { nodes, samples, timeDeltas } = decode(text)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const self = new Map<number, number>()
  samples.forEach((id, index) => self.set(id, (self.get(id) ?? 0) + (timeDeltas[index] ?? 0) / 1000))
  const counted = nodes.filter(({ callFrame }) => !isOutside(callFrame))
  const busy = counted.reduce((sum, { id }) => sum + (self.get(id) ?? 0), 0)

  const sumsBy = (keyOf: (frame: Frame) => string): ReadonlyMap<string, number> => {
    const sums = new Map<string, number>()
    for (const { callFrame, id } of counted) {
      const key = keyOf(callFrame)
      sums.set(key, (sums.get(key) ?? 0) + (self.get(id) ?? 0))
    }
    return sums
  }

  const withCalled = new Map<string, number>()
  /** `open` are those of ours which are under way: what calls itself counts once. */
  const walk = (id: number, open: ReadonlySet<string>): number => {
    const { callFrame, children = [] } = byId.get(id)!
    const place = placeOf(callFrame)
    const enters = place.startsWith("src/") && !open.has(place)
    const within = enters ? new Set([...open, place]) : open
    const own = isOutside(callFrame) ? 0 : (self.get(id) ?? 0)
    const time = children.reduce((sum, child) => sum + walk(child, within), own)
    if (enters) withCalled.set(place, (withCalled.get(place) ?? 0) + time)
    return time
  }
  walk(nodes[0]!.id, new Set())

  const section = (title: string, sums: ReadonlyMap<string, number>) => [
    "",
    title,
    ...[...sums]
      .toSorted(([, left], [, right]) => right - left)
      .slice(0, rows)
      .map(
        ([name, ms]) => `  ${((ms / busy) * 100).toFixed(1).padStart(5)} %  ${ms.toFixed(0).padStart(6)} ms  ${name}`
      )
  ]
  return [
    `${busy.toFixed(0)} ms busy`,
    ...section("By area", sumsBy(areaOf)),
    ...section("By function, alone", sumsBy(placeOf)),
    ...section("By function of ours, with what it calls", withCalled)
  ].join("\n")
}

/** What is not the program's doing: its idling, and the profiler's own start and end. */
const isOutside = ({ functionName, url }: Frame): boolean =>
  functionName === "(idle)" ||
  functionName === "(root)" ||
  url === "node:inspector" ||
  url.endsWith("/bench/profiler.ts")

const shorten = (url: string): string =>
  url.replace(/^.*\/node_modules\//, "").replace(/^file:\/\/.*?\/(src|bench)\//, "$1/")

const placeOf = ({ functionName, lineNumber, url }: Frame): string =>
  url === "" ? functionName : `${shorten(url)}:${lineNumber + 1} ${functionName === "" ? "(anonymous)" : functionName}`

const areaOf = ({ functionName, url }: Frame): string => {
  if (functionName === "(garbage collector)") return "garbage collection"
  if (url === "") return "built in: system calls, compiler, JSON"
  if (url.startsWith("node:")) return "node"
  const path = shorten(url)
  const inner = /^effect\/(?:dist|src)\/(?:internal\/)?([\w-]+)/.exec(path)?.[1]
  if (inner !== undefined) {
    if (inner.startsWith("Schema") || inner === "schema") return "effect/Schema"
    return ["cluster", "http", "rpc", "socket", "sql"].includes(inner) ? `effect/${inner}` : "effect core"
  }
  return path
    .split("/")
    .slice(0, /^(@|src\/)/.test(path) ? 2 : 1)
    .join("/")
}
