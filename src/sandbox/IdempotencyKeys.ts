/**
 * What the provider remembers of the keys it was sent: the first answer, whatever it was, for 24 hours. Source: the provider's manual on
 * idempotent requests.
 */
import { isList } from "./FormBody.ts"
import type { Param, Params } from "./FormBody.ts"

/** What became of an earlier request with the same key. */
export type Earlier<Answer> =
  | { readonly _tag: "InProgress" }
  | { readonly _tag: "OtherRequest" }
  | { readonly _tag: "Answered"; readonly answer: Answer }

export interface IdempotencyKeys<Answer> {
  /** Claims the key for a request; undefined if it is the first one, which then must be answered or given up. */
  readonly begin: (key: string, fingerprint: number, now: number) => Earlier<Answer> | undefined
  readonly answered: (key: string, fingerprint: number, answer: Answer, at: number) => void
  /** Nothing was begun, so nothing is stored. */
  readonly giveUp: (key: string) => void
  readonly clear: () => void
}

const knownFor = 24 * 60 * 60 * 1000

interface KeyRecord<Answer> {
  readonly fingerprint: number
  readonly at: number
  /** Absent while the first request is under way. */
  readonly answer: Answer | undefined
}

export const makeIdempotencyKeys = <Answer>(): IdempotencyKeys<Answer> => {
  const keys = new Map<string, KeyRecord<Answer>>()

  const forgetOld = (now: number): void => {
    // The oldest come first.
    for (const [key, { at }] of keys) {
      if (now - at < knownFor) return
      keys.delete(key)
    }
  }

  return {
    begin: (key, fingerprint, now) => {
      forgetOld(now)
      const known = keys.get(key)
      if (known === undefined) {
        keys.set(key, { fingerprint, at: now, answer: undefined })
        return undefined
      }
      if (known.fingerprint !== fingerprint) return { _tag: "OtherRequest" }
      return known.answer === undefined ? { _tag: "InProgress" } : { _tag: "Answered", answer: known.answer }
    },
    answered: (key, fingerprint, answer, at) => {
      keys.set(key, { fingerprint, at, answer })
    },
    giveUp: (key) => {
      keys.delete(key)
    },
    clear: () => keys.clear()
  }
}

/** A request as a number of 53 bits: all that a key needs to remember of it. The order of its parameters does not matter. */
export const fingerprintOf = (path: string, params: Params): number => {
  const text = path + canonical(params)
  // cyrb53, a public-domain hash: as good as a digest here, and a number costs a million keys less than a million texts do.
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let position = 0; position < text.length; position++) {
    const unit = text.charCodeAt(position)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 4294967296 * (2097151 & low) + (high >>> 0)
}

const canonical = (value: Param): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (isList(value)) return `[${value.map(canonical).join()}]`
  return `{${Object.entries(value)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, entry]) => `${name}:${canonical(entry)}`)
    .join()}}`
}
