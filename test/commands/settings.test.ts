import { readFile } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { asMarkdown } from "../../src/commands/settings.ts"

describe("given the documentation of the settings", () => {
  it("when it is compared with the table which the program uses, then it says the same (REQ-GEN-21)", async () => {
    const stored = await readFile(new URL("../../docs/configuration.md", import.meta.url), "utf8")
    // After a change: npm run -s cartwright -- settings --markdown > docs/configuration.md
    assert.strictEqual(stored, asMarkdown())
  })
})
