/** How refusals and events of an actor stand in its history. Made once a kind of actor, since that takes far longer than their use. */
import { Schema } from "effect"
import type { AnyDefinition } from "./Actor.ts"

export interface Codecs {
  readonly encodeRefusal: (refusal: unknown) => unknown
  readonly decodeRefusal: (json: unknown) => unknown
  readonly decodeEvents: (json: unknown) => ReadonlyArray<unknown>
}

const known = new WeakMap<AnyDefinition, Codecs>()

export const codecsOf = (definition: AnyDefinition): Codecs => {
  let made = known.get(definition)
  if (made === undefined) {
    const refusal = Schema.toCodecJson(definition.refusal)
    made = {
      encodeRefusal: Schema.encodeUnknownSync(refusal),
      decodeRefusal: Schema.decodeUnknownSync(refusal),
      decodeEvents: Schema.decodeUnknownSync(Schema.Array(Schema.toCodecJson(definition.event)))
    }
    known.set(definition, made)
  }
  return made
}
