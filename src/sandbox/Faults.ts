/** What can be made to go wrong at the payment provider, by a card's token or by a test, and when it is used up. */
import { Schema } from "effect"

/** The calls a provider answers, by what they do rather than by their path. */
export const Operation = Schema.Literals([
  "create",
  "confirm",
  "capture",
  "cancel",
  "refund",
  "retrieve",
  "list",
  "search",
  "retrieve_refund",
  "list_refunds",
  "retrieve_dispute",
  "list_disputes",
  "transfer",
  "list_transfers"
])
export type Operation = typeof Operation.Type

/**
 * `done` says whether the work was carried out before things went wrong.
 *
 * - `Delay`: the work happens after `ms`; until then the intent is locked for other writes.
 * - `Unavailable`: 503 with a page of HTML from what stands before the API; nothing is stored under the key.
 * - `ServerError`: 500 from the API itself, stored under the key: every repeat of the key gets it again.
 * - `RateLimited`: 429; nothing was done or stored.
 * - `Reset`: the connection is cut.
 * - `Silence`: nobody answers, and the connection stays open until the caller gives up.
 * - `Refused`: a definite no, stored under the key.
 * - `Processing`: a confirmed intent stays `processing` for `ms`.
 * - `Pending`: a refund stays `pending` for `ms`, then becomes what `as` says.
 * - `Returned`: a refund succeeds, and comes back after `ms`: it has failed then.
 * - `Down`: the server is gone for `ms`: connections are refused. Counts from when it is injected.
 */
export const Fault = Schema.TaggedUnion({
  Delay: { ms: Schema.Int },
  Unavailable: {},
  ServerError: { done: Schema.Boolean },
  RateLimited: { retryAfterSeconds: Schema.Int },
  Reset: { done: Schema.Boolean },
  Silence: { done: Schema.Boolean },
  Refused: { code: Schema.String, message: Schema.String },
  Processing: { ms: Schema.Int },
  Pending: { ms: Schema.Int, as: Schema.Literals(["succeeded", "failed"]) },
  Returned: { ms: Schema.Int },
  Down: { ms: Schema.Int }
})
export type Fault = typeof Fault.Type

/** A fault for the next `times` calls of an operation. */
export const Injection = Schema.Struct({
  operation: Schema.Union([Operation, Schema.Literal("any")]),
  fault: Fault,
  times: Schema.Union([Schema.Int, Schema.Literal("always")])
})
export type Injection = typeof Injection.Type

/** Counts faults down. Those injected come before those of the card. */
export interface FaultBook {
  readonly inject: (injection: Injection) => void
  readonly clear: () => void
  /** What is still to come, without the faults of cards. */
  readonly pending: () => ReadonlyArray<Injection>
  /** The fault of this call, if any; uses it up. `scope` is what a card's faults are counted by. */
  readonly take: (
    operation: Operation,
    card: { readonly token: string; readonly faults: ReadonlyArray<Injection> } | undefined,
    scope: string
  ) => Fault | undefined
}

export const makeFaultBook = (): FaultBook => {
  let injected: Array<{ injection: Injection; left: number }> = []
  const spent = new Map<string, number>()

  const takeInjected = (operation: Operation): Fault | undefined => {
    const next = injected.find(({ injection }) => injection.operation === "any" || injection.operation === operation)
    if (next === undefined) return undefined
    next.left -= 1
    if (next.left <= 0) injected = injected.filter((other) => other !== next)
    return next.injection.fault
  }

  return {
    inject: (injection) => {
      const left = injection.times === "always" ? Infinity : injection.times
      if (left > 0) injected.push({ injection, left })
    },
    clear: () => {
      injected = []
      spent.clear()
    },
    pending: () =>
      injected.map(({ injection, left }) => ({ ...injection, times: left === Infinity ? "always" : left })),
    take: (operation, card, scope) => {
      if (injected.length > 0) {
        const fault = takeInjected(operation)
        if (fault !== undefined) return fault
      }
      if (card === undefined || card.faults.length === 0) return undefined
      for (const [position, { operation: of, times, fault }] of card.faults.entries()) {
        if (of !== "any" && of !== operation) continue
        const key = `${card.token} ${position} ${scope}`
        const used = spent.get(key) ?? 0
        if (times !== "always" && used >= times) continue
        if (times !== "always") spent.set(key, used + 1)
        return fault
      }
      return undefined
    }
  }
}
