import { readFileSync } from "node:fs"
import { Schema } from "effect"

/** Of this program, as its package says. */
export const version: string = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({ version: Schema.String }))
)(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version
