/** What the promises of a `Shop` reject with. */
import type { Refusal } from "../rpc/Api.ts"
import { explanations } from "../rpc/Explanations.ts"
import type { ClientFault } from "./Calls.ts"

export interface RefusalInfo {
  /** The stable name of the refusal: the same as its `_tag`. */
  readonly code: string
  /** English and neutral: for logs, or for people where the storefront has no words of its own. */
  readonly message: string
  /** Under which the shop's log has more. */
  readonly requestId: string
  /** The same request may succeed later, with nothing changed about it. */
  readonly retryable: boolean
}

type Known = Refusal | ClientFault
type Thrown<Code extends Known["_tag"]> = Extract<Known, { readonly _tag: Code }> & RefusalInfo

/** Whether this is an answer of the shop, or of its client, and with a code whether it is that one: then its fields are known. */
export const isRefusal: {
  (error: unknown): error is Thrown<Known["_tag"]>
  <const Code extends Known["_tag"]>(error: unknown, code: Code): error is Thrown<Code>
} = (error: unknown, code?: string): error is never =>
  typeof error === "object" &&
  error !== null &&
  told.has(error) &&
  (code === undefined || ("_tag" in error && error._tag === code))

const told = new WeakSet()

const ofClient = {
  Unreachable: { message: "The shop could not be reached.", retryable: true },
  TokenUnavailable: { message: "The token could not be had.", retryable: true }
}
const texts: Readonly<Record<Known["_tag"], { readonly message: string; readonly retryable: boolean }>> = {
  ...explanations,
  ...ofClient
}

/**
 * Gives an error of the contract what a caller without Effect expects of an error, the place of the call among it. Anything else stays
 * as it is.
 */
export const explained = (error: unknown, requestId: string, site: Error): unknown => {
  if (!(error instanceof Error) || !("_tag" in error)) return error
  const code = String(error._tag)
  if (!isKnown(code)) return error
  const { message, retryable } = texts[code]
  const own = error.message === "" ? message : error.message
  const frames = (site.stack ?? "").split("\n").slice(1).join("\n")
  Object.defineProperties(error, {
    code: { value: code, enumerable: true },
    message: { value: own },
    requestId: { value: requestId, enumerable: true },
    retryable: { value: retryable, enumerable: true },
    stack: { value: `${code}: ${own}\n${frames}` }
  })
  told.add(error)
  return error
}

const isKnown = (code: string): code is Known["_tag"] => Object.hasOwn(texts, code)
