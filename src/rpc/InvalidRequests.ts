/** From what a schema found wrong to the refusal which names the place. Used on both sides, so that both say the same. */
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { InvalidRequest } from "../domain/Refusals.ts"

/** Names the first thing found wrong. What was sent is not repeated: it may be long, or secret. */
export const fromSchemaError = (error: Schema.SchemaError): InvalidRequest => {
  const [first] = format(error.issue).issues
  return new InvalidRequest({ field: fieldOf(first?.path ?? []), message: first?.message ?? "Expected something else" })
}

/** Unknown fields are refused, so that a client notices that e.g. its `price` is not looked at. */
export const strictly = { onExcessProperty: "error" } as const

const format = SchemaIssue.makeFormatterStandardSchemaV1()

type PathElement = PropertyKey | { readonly key: PropertyKey }

/** E.g. `lines[0].quantity`. A key of the sender's own making is cut short. */
const fieldOf = (path: ReadonlyArray<PathElement>): string => {
  let field = ""
  for (const element of path) {
    const key = typeof element === "object" ? element.key : element
    if (typeof key === "number") field += `[${key}]`
    else field += field === "" ? String(key) : `.${String(key)}`
  }
  return field.slice(0, 200)
}
