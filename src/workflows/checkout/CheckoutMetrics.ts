/** What the checkout counts, once a step is durable. REQUIREMENTS F.1: MET-01, 03, 04, 05, 07, 08. */
import { Effect, Metric } from "effect"
import type { PaymentState } from "../../entities/payment/Payment.ts"
import type { Group } from "./CheckoutActors.ts"

const created = Metric.counter("orders_created_total", {
  description: "Checkouts by how they ended",
  incremental: true
})
const sagaTransitions = Metric.counter("checkout_saga_state_transition_total", {
  description: "Moves of the money side of an order",
  incremental: true
})
const statusTransitions = Metric.counter("order_status_transitions_total", {
  description: "Moves of orders between statuses",
  incremental: true
})
const captureAttempts = Metric.counter("capture_attempts_total", {
  description: "Captures asked for, by outcome",
  incremental: true
})
const reservations = Metric.counter("stock_reserve_total", {
  description: "Reservations by outcome",
  incremental: true
})
const stockConfirmations = Metric.counter("stock_confirmation_total", {
  description: "Claims of orders which were to be bound, by outcome",
  incremental: true
})

/** Made once for each set of labels: they are few, and looked up on the hot path. */
const labelled = new Map<string, typeof created>()
const count = (metric: typeof created, labels: Readonly<Record<string, string>>) => {
  const name = `${metric.id} ${Object.values(labels).join(" ")}`
  const found = labelled.get(name) ?? Metric.withAttributes(metric, labels)
  labelled.set(name, found)
  return Metric.update(found, 1)
}

const standing = ({
  order: { state: order },
  payment: { state: payment },
  reservation: { state: reservation },
  session
}: Group) => ({
  order: order._tag === "Absent" ? "none" : order.status,
  reason: order._tag === "Absent" ? undefined : order.reason,
  saga: payment._tag === "Absent" ? "none" : payment.saga,
  method: methodOf(payment),
  reservation: reservation._tag,
  session: session.state._tag === "Absent" ? "none" : session.state.status
})

const methodOf = (payment: PaymentState): string => {
  if (payment._tag === "Absent") return "card"
  return payment.amount === 0n ? "none" : (payment.method ?? "card")
}

const captureOutcomes: Readonly<Record<string, string>> = { captured: "captured", capture_failed: "failed" }

/** Counts what a step has changed. */
export const observed = <A, E, R>(group: Group, step: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const before = standing(group)
    return Effect.tap(step, () =>
      Effect.gen(function* () {
        const after = standing(group)
        if (after.saga !== before.saga) {
          yield* count(sagaTransitions, { from: before.saga, to: after.saga })
          const outcome = after.method === "card" ? captureOutcomes[after.saga] : undefined
          if (outcome !== undefined) yield* count(captureAttempts, { outcome })
        }
        if (after.order !== before.order) yield* count(statusTransitions, { from: before.order, to: after.order })
        if (
          after.reservation !== before.reservation &&
          (after.reservation === "Active" || after.reservation === "Refused")
        ) {
          const outcome = after.reservation === "Active" ? "reserved" : "out_of_stock"
          yield* count(reservations, { outcome })
        }
        if (after.reservation !== before.reservation && after.reservation === "Fulfilled") {
          yield* count(stockConfirmations, { outcome: "committed" })
        }
        if (after.reason !== before.reason && after.reason === "stock_confirmation_failed") {
          yield* count(stockConfirmations, { outcome: "failed" })
        }
        if (after.session !== before.session && after.session !== "confirming") {
          yield* count(created, { method: after.method, outcome: after.session })
        }
      })
    )
  })
