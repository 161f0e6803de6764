/**
 * Gives money back. A request is durable before anything else; then it is tried, here and on the payment's durable timer, until the
 * provider has said how it ends, or nobody but an operator can help.
 */
import { DateTime, Effect, Layer } from "effect"
import type { IdempotencyKey } from "../../domain/Ids.ts"
import { NotFound, Unavailable } from "../../domain/Refusals.ts"
import { Payment } from "../../entities/payment/Payment.ts"
import { type PaymentRefusal, refundTimer } from "../../entities/payment/PaymentActor.ts"
import { type Refund, type RefundId, refundView } from "../../entities/payment/Refund.ts"
import { dueRefunds, refundNamed } from "../../entities/payment/RefundDecider.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Timers } from "../../runtime/Timers.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { Refunds } from "./Refunds.ts"
import { tryRefund, tryRefundSoon } from "./RefundTry.ts"

/** What only an impossible refusal of this command would be: the actors are not where the step thought they were. */
const busy = new Unavailable({ retryAfterMs: 500 })

const make = Effect.gen(function* () {
  const services = yield* Effect.context<CheckoutContext | PaymentGateway>()
  const placement = yield* Placement
  const timers = yield* Timers
  const scope = yield* Effect.scope
  const { refunds, withGroup } = yield* CheckoutContext

  const attempt = (group: Group, id: RefundId, again: boolean) =>
    tryRefund(group, id, { again }).pipe(Effect.provide(services))

  const begin = (id: string, refund: RefundId) =>
    withGroup(id, (group) => tryRefundSoon(group, refund)).pipe(
      Effect.ignore,
      Effect.provide(services),
      Effect.forkIn(scope),
      Effect.asVoid
    )

  /** The timer of a payment with refunds: each that is due, or was left in the middle. */
  const due = (id: string): Effect.Effect<void, PaymentRefusal | Unavailable> =>
    withGroup(
      id,
      Effect.fnUntraced(function* (group) {
        const payment = group.payment.state
        if (payment._tag === "Absent") return
        for (const refund of dueRefunds(payment, yield* DateTime.now)) yield* attempt(group, refund.id, false)
      })
    )

  timers.onDue(Payment.type, (id) => due(id), refundTimer)

  const told = (id: string, refund: Refund | undefined) =>
    refund === undefined ? Effect.fail(new NotFound({ id })) : Effect.succeed(refundView(refund))

  const present = ({ id, payment: { state } }: Group) =>
    state._tag === "Absent" ? Effect.fail(new NotFound({ id })) : Effect.succeed(state)

  placement.serve(Refunds, {
    Request: (
      id: string,
      { key: _, ...asked }: { key: IdempotencyKey; refund: RefundId; amount?: bigint; reason: string; by?: string }
    ) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          yield* present(group)
          const refund = yield* refunds
            .request(group, asked)
            .pipe(Effect.catchTag("PaymentConflict", () => Effect.fail(busy)))
          if (refund?.status === "requested") yield* begin(id, refund.id)
          return yield* told(id, refund)
        })
      ),
    Retry: (id: string, { refund }: { refund: RefundId }) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const known = refundNamed(yield* present(group), refund)
          if (known === undefined) return yield* new NotFound({ id: refund })
          return yield* told(refund, yield* attempt(group, refund, true))
        })
      )
  })
})

export const layer: Layer.Layer<never, never, CheckoutContext | PaymentGateway | Placement | Timers> =
  Layer.effectDiscard(make)
