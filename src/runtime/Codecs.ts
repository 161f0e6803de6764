/** How refusals and events of an actor stand in its history. Made once a kind of actor, since that takes far longer than their use. */
import { Function, Schema } from "effect"
import type { AnyDefinition } from "./Actor.ts"

export const codecsOf = Function.memoize((definition: AnyDefinition) => {
  const refusal = Schema.toCodecJson(definition.refusal)
  return {
    encodeRefusal: Schema.encodeUnknownSync(refusal),
    decodeRefusal: Schema.decodeUnknownSync(refusal),
    decodeEvents: Schema.decodeUnknownSync(Schema.Array(Schema.toCodecJson(definition.event)))
  }
})
