import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { settings } from "../../src/layers/Settings.ts"

const root = new URL("../../", import.meta.url)
const page = readFileSync(new URL("docs/operations/failures.md", root), "utf8")

const sources = readdirSync(new URL("src/", root), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => readFileSync(new URL(`src/${name}`, root), "utf8"))
  .join("\n")

const named = (pattern: RegExp): ReadonlyArray<string> => [
  ...new Set(Array.from(page.matchAll(pattern), ([, name]) => name!))
]

describe("given the page on failures", () => {
  it("when it names a setting, then there is one (REQ-GEN-21)", () => {
    const found = named(/`([A-Z]+(?:_[A-Z]+)+)`/g)
    assert.isAbove(found.length, 10)
    assert.deepStrictEqual(
      found.filter((name) => !(name in settings)),
      []
    )
  })

  it("when it names a metric, then there is one (REQ-GEN-21)", () => {
    const found = named(/`([a-z]+(?:_[a-z]+)+)(?:\{[^`]*)?`/g)
    assert.isAbove(found.length, 5)
    assert.deepStrictEqual(
      found.filter((name) => !sources.includes(`"${name}"`)),
      []
    )
  })

  it("when it quotes the log, then that is what is logged", () => {
    for (const line of [
      "has ended",
      "steps are given up",
      "this node ends itself",
      "The node has run no code",
      "The database does not answer",
      "The database answers again",
      "A unit is refused"
    ]) {
      assert.include(page, line)
      assert.include(sources, line)
    }
  })
})
