/** One buyer's visit to the shop, through the client every storefront uses, from the empty cart to whatever came of it. */
import { Clock, Context, Data, Duration, Effect, Layer, Result, Schedule, type Scope } from "effect"
import { StorefrontClient, type StorefrontCalls } from "../client/OrdersClient.ts"
import type { Money } from "../domain/Money.ts"
import type { Buyer } from "./Buyers.ts"

/** How a visit ended, as the buyer has heard it. */
export type Outcome =
  | { readonly _tag: "Confirmed"; readonly total: Money }
  /** Before an order was placed. `reason` is the refusal's name. */
  | { readonly _tag: "Rejected"; readonly reason: string }
  /** The order was placed and undone. */
  | { readonly _tag: "Cancelled"; readonly reason: string }
  | { readonly _tag: "WalkedAway" }
  /** Nobody has said so far. */
  | { readonly _tag: "Undecided"; readonly why: string }

export interface Visit {
  readonly buyer: Buyer
  readonly checkoutId: string
  readonly outcome: Outcome
  /** Of a confirmation which succeeded at its first call, with a card that behaves. */
  readonly milliseconds?: number
  /** How often the buyer had to come back, since payments or the shop were away. */
  readonly cameBack: number
  /** Two windows of one buyer heard different things. */
  readonly disagreement?: string
}

export interface Surroundings {
  readonly urls: ReadonlyArray<string>
  /** Names the run in every id of it. */
  readonly run: string
  /** Each buyer is a customer of their own; `undefined` makes a guest of them. */
  readonly tokenOf: (customer: string) => Effect.Effect<string | undefined>
  /** Answers the provider's question for a second factor, as the customer's browser would; gives whether it was heard. */
  readonly prove: (clientSecret: string, passes: boolean) => Effect.Effect<boolean>
  /** Put around the calls of each window, to listen in. */
  readonly around?: (calls: StorefrontCalls) => StorefrontCalls
}

export const checkoutIdOf = ({ run }: Pick<Surroundings, "run">, { index }: Buyer): string => `${run}-checkout-${index}`

/** Never fails: whatever happens is an outcome. */
export const visit = Effect.fn("simulate.visit")(function* (surroundings: Surroundings, buyer: Buyer) {
  const checkoutId = checkoutIdOf(surroundings, buyer)
  const window = yield* openWindow(surroundings, buyer, 0)
  const prepared = yield* Effect.result(fill(surroundings, buyer, checkoutId, window))
  const left = { buyer, checkoutId, cameBack: 0 }
  if (Result.isFailure(prepared)) return { ...left, outcome: outcomeOf(prepared.failure) } satisfies Visit
  const { habit } = buyer
  if (habit._tag === "WalksAway") {
    const goodbye = habit.says ? Effect.asVoid(window.AbandonCheckout({ checkoutId })) : Effect.void
    const outcome = yield* Effect.match(goodbye, {
      onFailure: outcomeOf,
      onSuccess: (): Outcome => ({ _tag: "WalkedAway" })
    })
    return { ...left, outcome } satisfies Visit
  }
  const expectedTotal = prepared.success
  const key = `${checkoutId}:confirm`
  if (habit._tag !== "ClicksTwice") {
    return {
      ...left,
      ...(yield* confirm(surroundings, buyer, window, { checkoutId, key, expectedTotal }))
    } satisfies Visit
  }
  const other = yield* openWindow(surroundings, buyer, 1)
  const [first, second] = yield* Effect.all(
    [
      confirm(surroundings, buyer, window, { checkoutId, key, expectedTotal }),
      confirm(surroundings, buyer, other, { checkoutId, key: habit.sameKey ? key : `${key}:other`, expectedTotal })
    ],
    { concurrency: 2 }
  )
  const [one, two] = [saidBy(first.outcome), saidBy(second.outcome)]
  const undecided = [first, second].some(({ outcome }) => outcome._tag === "Undecided")
  return {
    ...left,
    ...(first.outcome._tag === "Undecided" ? second : first),
    ...(undecided || one === two ? {} : { disagreement: `${checkoutId}: one window hears ${one}, the other ${two}` })
  } satisfies Visit
}, Effect.scoped)

/** What has become of a checkout whose end nobody has heard: asked again by another window. */
export const askAgain = Effect.fnUntraced(function* (surroundings: Surroundings, before: Visit) {
  const { buyer, checkoutId } = before
  const window = yield* openWindow(surroundings, buyer, 0)
  const answer = yield* Effect.result(window.GetConfirmStatus({ checkoutId }))
  const outcome: Outcome = Result.isFailure(answer)
    ? outcomeOf(answer.failure)
    : answer.success._tag === "Confirmed"
      ? answer.success
      : { _tag: "Undecided", why: answer.success._tag }
  return { ...before, outcome } satisfies Visit
}, Effect.scoped)

/** A browser window: a connection of its own, and of several nodes each begins with another. */
export const openWindow = Effect.fnUntraced(function* (
  { around, tokenOf, urls, run }: Surroundings,
  { index }: Pick<Buyer, "index">,
  nth: number
): Effect.fn.Return<StorefrontCalls, never, Scope.Scope> {
  const from = (index + nth) % urls.length
  const token = yield* tokenOf(`${run}-customer-${index}`)
  const nodes = [...urls.slice(from), ...urls.slice(0, from)]
  const calls = Context.get(yield* Layer.build(StorefrontClient.layer({ urls: nodes, token })), StorefrontClient)
  return around === undefined ? calls : around(calls)
})

/** Everything up to the button, and the total that stands beside it. */
const fill = Effect.fnUntraced(function* (
  { run }: Surroundings,
  { address, card, currency, express, index, lines }: Buyer,
  checkoutId: string,
  window: StorefrontCalls
) {
  const cartId = `${run}-cart-${index}`
  for (const { quantity, sku } of lines) yield* window.AddItem({ cartId, currency, sku, quantity })
  yield* window.StartCheckout({ checkoutId, cartId, currency })
  yield* window.SetAddress({ checkoutId, address })
  if (express) yield* window.SetShippingMethod({ checkoutId, method: "express" })
  yield* window.SetPaymentMethod({ checkoutId, paymentMethod: card })
  const { totals } = yield* window.PreviewTotals({ checkoutId })
  return { amount: totals.total, currency }
})

interface Confirming {
  readonly checkoutId: string
  readonly key: string
  readonly expectedTotal: { readonly amount: bigint; readonly currency: string }
}

/** Presses the button until the answer is final: proves who they are, takes another card, or comes back later. */
const confirm = Effect.fnUntraced(function* (
  { prove }: Surroundings,
  { card, habit, kind, secondCard }: Buyer,
  window: StorefrontCalls,
  { checkoutId, expectedTotal, key }: Confirming
): Effect.fn.Return<Pick<Visit, "outcome" | "milliseconds" | "cameBack">> {
  let cameBack = 0
  let nextKey = key
  let ownCard = card
  let proven = false
  for (let calls = 1; calls <= callsMax; calls++) {
    const from = yield* Clock.currentTimeMillis
    const answer = yield* Effect.result(window.ConfirmCheckout({ checkoutId, key: nextKey, expectedTotal }))
    const milliseconds = (yield* Clock.currentTimeMillis) - from
    if (Result.isFailure(answer)) {
      const refusal = answer.failure
      if (refusal._tag === "PaymentDeclined" && secondCard !== undefined && ownCard !== secondCard) {
        ownCard = secondCard
        nextKey = `${key}:${calls}`
        const changed = yield* Effect.result(window.SetPaymentMethod({ checkoutId, paymentMethod: secondCard }))
        if (Result.isFailure(changed)) return { outcome: outcomeOf(changed.failure), cameBack }
        continue
      }
      if (refusal._tag === "PaymentUnavailable" || refusal._tag === "Unavailable") {
        if (calls === callsMax) return { outcome: outcomeOf(refusal), cameBack }
        cameBack++
        nextKey = `${key}:${calls}`
        yield* Effect.sleep(Math.min(refusal.retryAfterMs, pauseMax))
        continue
      }
      return { outcome: outcomeOf(refusal), cameBack }
    }
    switch (answer.success._tag) {
      case "Confirmed": {
        const { total } = answer.success
        const ordinary = calls === 1 && (kind === "plain" || kind === "clicks twice")
        return { outcome: { _tag: "Confirmed", total }, cameBack, ...(ordinary ? { milliseconds } : {}) }
      }
      case "RequiresAction": {
        if (proven || habit._tag !== "Proves")
          return { outcome: { _tag: "Undecided", why: "RequiresAction" }, cameBack }
        proven = true
        const heard = yield* prove(answer.success.clientSecret, habit.passes)
        if (!heard) return { outcome: { _tag: "Undecided", why: "the provider's page does not answer" }, cameBack }
        continue
      }
      case "Pending": {
        const end = yield* Effect.result(awaitEnd(window, checkoutId))
        if (Result.isFailure(end)) return { outcome: outcomeOf(end.failure), cameBack }
        return { outcome: end.success, cameBack }
      }
    }
  }
  return { outcome: { _tag: "Undecided", why: "asked too often" }, cameBack }
})

/** Of the confirmation, by one buyer. */
const callsMax = 8
/** No buyer waits for longer at a time: the breaker's half minute, and a little. */
const pauseMax = 35_000

const awaitEnd = (window: StorefrontCalls, checkoutId: string) =>
  window.GetConfirmStatus({ checkoutId }).pipe(
    Effect.repeat({ until: ({ _tag }) => _tag !== "Pending", schedule: Schedule.spaced("1 second") }),
    Effect.timeoutOrElse({ duration: Duration.minutes(3), orElse: () => new StillPending() }),
    Effect.map((status): Outcome =>
      status._tag === "Confirmed" ? { _tag: "Confirmed", total: status.total } : { _tag: "Undecided", why: status._tag }
    )
  )

class StillPending extends Data.TaggedError("StillPending")<{}> {}

const outcomeOf = (refusal: { readonly _tag: string; readonly reason?: unknown }): Outcome => {
  switch (refusal._tag) {
    case "CheckoutCompensated":
      return { _tag: "Cancelled", reason: String(refusal.reason) }
    // The command may have been carried out all the same.
    case "Unreachable":
    case "TokenUnavailable":
    case "RequestTimeout":
    case "InternalError":
    case "StillPending":
      return { _tag: "Undecided", why: refusal._tag }
    default:
      return { _tag: "Rejected", reason: refusal._tag }
  }
}

/** What two windows must agree about. */
const saidBy = (outcome: Outcome): string =>
  outcome._tag === "Confirmed" || outcome._tag === "WalkedAway"
    ? outcome._tag
    : `${outcome._tag} ${"reason" in outcome ? outcome.reason : outcome.why}`
