/** The stories which together come to every step of an order's money, to be told undisturbed, disturbed, or once more by whoever takes over. */
import { Duration, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CheckoutId, CustomerId, IdempotencyKey } from "../../src/domain/Ids.ts"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import type { ShopLimits } from "../../src/layers/Shop.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Ledger } from "../../src/sandbox/Ledger.ts"
import { Captures } from "../../src/workflows/capture/Captures.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

/**
 * `sale`: paid. `refused`: the provider refuses the capture for good. `taken`: it captures, and nobody is told until the order is given up.
 * `refund`: paid, then given back. `deferred`: confirmed by its hold, then captured.
 */
export type Story = "sale" | "refused" | "taken" | "refund" | "deferred"

export interface Names {
  readonly story: Story
  readonly checkoutId: string
  readonly cartId: string
  readonly customer: string
  readonly confirmKey: string
}

export const named = (story: Story): Names => ({
  story,
  checkoutId: Shop.fresh("checkout"),
  cartId: Shop.fresh("cart"),
  customer: Shop.fresh("customer"),
  confirmKey: Shop.fresh("confirm")
})

/** With `paymentTimeout` as the provider's limit: short where it is to be met, long where a slow machine must not meet it. */
export const limitsOf = (story: Story, paymentTimeout: Duration.Duration): ShopLimits => ({
  ...Shop.quickLimits,
  checkout: {
    ...Shop.quickLimits.checkout,
    paymentTimeout,
    captureMode: story === "deferred" ? "deferred" : "immediate"
  }
})

/** For processes which are not told that the provider is slow. */
export const patient = Duration.seconds(15)

/** Up to the moment before the customer confirms. */
export const prepare = ({ cartId, checkoutId, customer, story }: Names) =>
  Shop.prepare({
    lines: { tea: 2, cup: 1 },
    card: story === "refused" ? "pm_sandbox_capture_declined" : "pm_card_visa",
    cartId,
    checkoutId,
    customer
  })

const again = {
  times: 50,
  while: ({ _tag }: { readonly _tag: string }) => _tag === "Unavailable" || _tag === "CartLocked"
}

/** What people do, with the keys they did it with before; what they hear is not what the test is about. */
export const act = Effect.fnUntraced(function* ({ checkoutId, confirmKey, customer, story }: Names) {
  const placement = yield* Placement
  const key = IdempotencyKey.make(confirmKey)
  yield* placement
    .client(Checkout, { timeout: Shop.patience })(CheckoutId.make(checkoutId))
    .Confirm({ by: CustomerId.make(customer), confirmKey: key })
    .pipe(Effect.retry(again), Effect.ignore)
  if (story === "refund") {
    yield* placement
      .client(Refunds)(checkoutId)
      .Request({ key, refund: operatorRefund(key), reason: "The handle broke" })
      .pipe(Effect.retry(again), Effect.ignore)
  }
  if (story === "deferred")
    yield* placement.client(Captures)(checkoutId).Capture({ key }).pipe(Effect.retry(again), Effect.ignore)
})

/** Nothing is under way any more, as far as one process can see. */
export const quiet = ({ checkoutId }: Names) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const payment = (yield* Placement).client(Payment)(checkoutId)
    yield* eventually(
      Effect.all([
        payment.GetPayment(),
        sql<{ busy: boolean }>`
        select exists (select from checkout.sessions where id = ${checkoutId} and status = 'confirming') as busy`
      ]),
      ([view, [row]]) =>
        row?.busy === false &&
        (view === null ||
          (view.saga !== "capture_pending" &&
            view.saga !== "capture_failed" &&
            (view.refunds ?? []).every(
              ({ nextAttemptAt, status }) =>
                status === "completed" || (status === "failed" && nextAttemptAt === undefined)
            )))
    )
  })

/** How an order's money may end. Anything else is described, and is a loss. */
export const endings = {
  paid: "the order is confirmed and was captured once",
  refused: "there is no order, and nothing is held or taken",
  undone: "the order is cancelled, nothing is held or kept, and its stock is back",
  "given back": "the order is confirmed, was captured once and refunded once",
  "left to an operator": "what could not be given back stands as one record, and nothing was given back twice"
} as const
export type Ending = keyof typeof endings

/** How the money of a checkout stands, by the provider's ledger and the shop's tables. */
export const endingOf = (ledger: Ledger, checkoutId: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const [row] = yield* sql<Readonly<Record<string, string | null>>>`
      select s.status as session, o.status as order_status, o.payment_status as paid, r.status as stock, p.status as payment,
        (select count(*)::text from payment.failed_compensations f where f.order_id = s.id and f.status <> 'resolved') as records
      from checkout.sessions s left join orders.orders o on o.id = s.id left join warehouse.reservations r on r.id = s.id
        left join payment.payments p on p.id = s.id
      where s.id = ${checkoutId}`
    const entries = ledger.ofCheckout(checkoutId)
    const sum = (what: "authorized" | "captured" | "voided" | "refunded", of: "times" | "amount") =>
      entries.reduce((total, entry) => total + entry[what][of], 0)
    const seen = {
      ...row,
      // A void of what was never confirmed drops nothing.
      held: entries.filter(({ authorized, captured, voided }) => authorized.times > captured.times + voided.times)
        .length,
      captured: sum("captured", "times"),
      refunded: sum("refunded", "times"),
      kept: sum("captured", "amount") - sum("refunded", "amount")
    }
    const records = Number(row?.["records"])
    const given = row?.["stock"] === "released" || row?.["stock"] === "reversed"
    const is = (ending: Ending): Ending => ending
    if (records === 1 && seen.captured <= 1 && seen.refunded === 0 && seen.held + seen.captured === 1) {
      return is("left to an operator")
    }
    if (records === 0 && seen.held === 0) {
      const confirmed = row?.["order_status"] === "confirmed"
      if (confirmed && row["paid"] === "completed" && seen.captured === 1 && seen.refunded === 0) return is("paid")
      if (confirmed && row["paid"] === "refunded" && seen.captured === 1 && seen.refunded === 1 && seen.kept === 0) {
        return is("given back")
      }
      if (row?.["order_status"] === null && row["session"] === "rejected" && seen.captured === 0 && given) {
        return is("refused")
      }
      const over = row?.["order_status"] === "cancelled" && ["cancelled", "refunded"].includes(row["paid"] ?? "")
      if (over && given && seen.captured <= 1 && seen.kept === 0 && seen.refunded === seen.captured) return is("undone")
    }
    return JSON.stringify(seen)
  })
