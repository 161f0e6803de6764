/**
 * Reviews one payment: asks the provider, and does what follows from its answer by the commands and keys of the processes which would have
 * done it otherwise. What the provider has without a living order goes back: by a void or a refund with a key that names what it is, so that
 * a repeat, or a second node, gives nothing back twice.
 */
import { createHash } from "node:crypto"
import { Effect, Layer, Redacted } from "effect"
import { IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import type { Currency } from "../../domain/Money.ts"
import { Unavailable } from "../../domain/Refusals.ts"
import { hashedReference } from "../../domain/SecretHash.ts"
import { IntentReference, type PresentPayment, providerKeys } from "../../entities/payment/Payment.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { compensationRefund, type Refund, RefundId } from "../../entities/payment/Refund.ts"
import { isGivenUp, pendingOf, refundNamed } from "../../entities/payment/RefundDecider.ts"
import { type Intent, PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Store } from "../../runtime/Store.ts"
import { Captures } from "../capture/Captures.ts"
import { CheckoutActors, type Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
// oxlint-disable-next-line no-restricted-imports -- what is stuck is gone on with by the process itself
import { CheckoutFlow } from "../checkout/CheckoutFlow.ts"
import { type Attempt, attemptOf } from "../checkout/CheckoutSteps.ts"
import { followMoney } from "../checkout/FollowMoney.ts"
import { leave, make as makeRecords } from "../compensation/FailedRecords.ts"
import { tryRefund } from "../refund/RefundTry.ts"
import { type Judgement, judge, type Standing } from "./MoneyRules.ts"
import { MoneyReview, type MoneyReviewed } from "./MoneyReview.ts"

interface Asked {
  readonly intent?: IntentReference
  readonly currency?: Currency
  readonly stuck: boolean
}

const busy = new Unavailable({ retryAfterMs: 1000 })

/** What others begin by themselves shows by then. */
const looksAgain = 20
const betweenLooks = "250 millis"

const make = Effect.gen(function* () {
  const { exclusively, refunds, steps, withCurrent } = yield* CheckoutContext
  const services = yield* Effect.context<CheckoutContext | PaymentGateway>()
  const gateway = yield* PaymentGateway
  const journal = yield* Journal
  const placement = yield* Placement
  const store = yield* Store
  const flow = yield* CheckoutFlow
  const records = makeRecords(yield* Actors, (yield* CheckoutActors).failed)
  const captures = placement.client(Captures)

  const ask = (intent: string): Effect.Effect<Intent | undefined, Unavailable> =>
    gateway
      .retrieve(Redacted.make(intent, { label: "authorization" }))
      .pipe(
        Effect.catch((error) =>
          error._tag === "NotPossible" && error.code === "resource_missing"
            ? Effect.succeed(undefined)
            : Effect.fail(busy)
        )
      )

  const look = Effect.fnUntraced(function* (group: Group, intent: IntentReference) {
    const found = yield* ask(intent)
    const rows = yield* store
      .query("select 1 from payment.failed_compensations where order_id = $1 and status <> 'resolved' limit 1", [
        group.id
      ])
      .pipe(Effect.mapError(() => busy))
    const standing = standingOf(group, rows.length > 0)
    return { found, judgement: judge(standing, intent, found), standing }
  })

  /** The refund of what is left, on the payment's record, with tries of its own. */
  const refundRest = Effect.fnUntraced(function* (group: Group, payment: PresentPayment) {
    const refund = RefundId.make(`reconciliation:${payment.attempt}`)
    yield* refunds.request(group, { refund, reason: "No living order stands behind it" })
    return yield* tried(group, refund)
  })

  const tried = Effect.fnUntraced(function* (group: Group, refund: RefundId) {
    yield* Effect.ignore(tryRefund(group, refund, { again: false })).pipe(Effect.provide(services))
    const { state } = group.payment
    return endingOf(state._tag === "Absent" ? undefined : refundNamed(state, refund))
  })

  /** The payment's own hold or capture, which a compensation should have given back. */
  const compensate = Effect.fnUntraced(function* (group: Group, attempt: Attempt, payment: PresentPayment) {
    const order = group.order.state
    const reason = order._tag === "Placed" ? (order.reason ?? "payment_failed") : "payment_failed"
    const settlement = yield* exclusively(group.id)(
      Effect.gen(function* () {
        if (payment.saga === "capture_pending") {
          const failure = { _tag: "Failed", code: "order_over", definite: true, answered: true } as const
          yield* steps.captureFailed(group, attempt, payment.captureRetryCount, failure)
        }
        const now = group.payment.state
        if (now._tag === "Absent") return undefined
        const settled = yield* Conversation.settle(gateway, group.id, now)
        yield* steps.settled(group, attempt, settled, reason)
        return settled
      })
    )
    if (settlement?._tag === "Taken") return yield* tried(group, compensationRefund(attempt.number))
    yield* journal.unit<void>({
      cells: [group.payment, group.order],
      cause: "reconciliation",
      body: (transaction) => followMoney(transaction, group, `reconciliation:${attempt.number}`)
    })
    return settlement?._tag === "Voided" ? ("corrected" as const) : ("left" as const)
  })

  /** What is at the provider under an authorization that the payment does not, or cannot, answer for. */
  const dropOrphan = Effect.fnUntraced(function* (
    group: Group,
    intent: IntentReference,
    { currency }: Pick<Asked, "currency">,
    found: Intent
  ) {
    const payment = group.payment.state
    const session = group.session.state
    if (session._tag === "Absent") return "raised" as const
    const attempt = orphanAttempt(intent)
    const amount = found._tag === "Authorized" || found._tag === "Captured" ? found.amount : 0n
    const orphan: PresentPayment = {
      ...blank,
      customerId: session.owner,
      amount,
      currency: payment._tag === "Present" ? payment.currency : (currency ?? session.currency),
      attempt,
      intent
    }
    const settlement = yield* exclusively(group.id)(Conversation.settle(gateway, group.id, orphan))
    if (settlement._tag === "Voided") return "corrected" as const
    const record = yield* records(group.id, "void_authorization", attempt)
    yield* journal.unit<void>({
      cells: [group.payment, record],
      cause: "reconciliation",
      body: (transaction) =>
        leave(transaction, record, {
          orderId: OrderId.make(group.id),
          operation: "void_authorization",
          attempt,
          authorizationId: intent,
          reservationIds: [],
          customerId: orphan.customerId,
          totalAmount: amount,
          currency: orphan.currency,
          reason: "No living order stands behind it",
          error: settlement._tag === "Unsettled" ? settlement.error : "captured"
        })
    })
    return "left" as const
  })

  /** Refunds which the provider has and we do not, or otherwise. */
  const followRefunds = Effect.fnUntraced(function* (group: Group, intent: IntentReference) {
    const listed = yield* gateway
      .refunds(Redacted.make(intent, { label: "authorization" }))
      .pipe(Effect.mapError(() => busy))
    for (const { amount, failure, id, key, status } of listed.toReversed()) {
      const { state } = group.payment
      if (state._tag === "Absent") return
      const reference = Redacted.value(id)
      const known = (state.refunds ?? []).find(
        (one) =>
          one.reference === reference || one.failedReference === reference || keysOf(group.id, one).includes(key ?? "")
      )
      if (known === undefined && status === "failed") continue
      yield* refunds
        .reported(group, IdempotencyKey.make(`reconciled:${hashedReference(reference)}:${status}`), {
          _tag: "RefundReported",
          ...(known === undefined ? {} : { refund: known.id }),
          reference,
          status,
          amount,
          ...(failure === undefined ? {} : { code: failure })
        })
        .pipe(
          // What cannot be true of this payment is told by the look that follows.
          Effect.catchTags({
            PaymentConflict: () => Effect.void,
            RefundNotPossible: () => Effect.void,
            RefundTooLarge: () => Effect.void
          })
        )
    }
  })

  const followUp = Effect.fnUntraced(function* (group: Group, intent: IntentReference, { order, saga }: Standing) {
    const payment = group.payment.state
    const session = group.session.state
    if (payment._tag === "Absent" || session._tag === "Absent") return
    if (saga === "captured" || saga === "refunded") return yield* followRefunds(group, intent)
    if (order === "living") {
      const key = IdempotencyKey.make(`reconciled:${group.payment.version}`)
      return yield* Effect.ignore(captures(group.id).Capture({ key }))
    }
    yield* compensate(group, attemptOf(session), payment)
  })

  const giveBack = Effect.fnUntraced(function* (group: Group, intent: IntentReference, asked: Asked, found: Intent) {
    const payment = group.payment.state
    const session = group.session.state
    if (payment._tag === "Present" && payment.intent === intent) {
      if (payment.saga === "captured" || payment.saga === "refunded") return yield* refundRest(group, payment)
      const own = session._tag === "Present" && session.attempt === payment.attempt
      if (own && payment.saga !== "none" && payment.saga !== "voided") {
        return yield* compensate(group, attemptOf(session), payment)
      }
    }
    return yield* dropOrphan(group, intent, asked, found)
  })

  /** Until nothing is left to do, as far as that shows soon. */
  const settledBy = Effect.fnUntraced(function* (group: Group, intent: IntentReference) {
    let { judgement } = yield* look(group, intent)
    for (let looks = 1; looks < looksAgain && judgement._tag === "Follow"; looks++) {
      yield* Effect.sleep(betweenLooks)
      judgement = (yield* look(group, intent)).judgement
    }
    return judgement
  })

  const review = (id: string, asked: Asked): Effect.Effect<MoneyReviewed, Unavailable> =>
    withCurrent(
      id,
      Effect.fnUntraced(function* (group) {
        const payment = group.payment.state
        const intent = asked.intent ?? (payment._tag === "Present" ? payment.intent : undefined)
        if (asked.stuck && group.session.state._tag === "Present" && group.session.state.status === "confirming") {
          const before = group.payment.version + group.session.version
          yield* flow.drive(id)
          const moved = group.payment.version + group.session.version !== before
          return told(moved ? "corrected" : "under_way", "its confirmation had not gone on")
        }
        if (intent === undefined) return told("sound")
        const { found, judgement, standing } = yield* exclusively(id)(look(group, intent))
        switch (judgement._tag) {
          case "Sound":
            return told("sound")
          case "UnderWay":
            return told("under_way")
          case "Differs":
            return told("raised", judgement.text)
          case "Follow": {
            yield* followUp(group, intent, standing)
            const after: Judgement = yield* settledBy(group, intent)
            const over = after._tag === "Sound" || after._tag === "UnderWay"
            return told(over ? "corrected" : "raised", judgement.text)
          }
          case "GiveBack": {
            yield* Effect.logWarning("The provider has money which no living order stands behind", {
              orderId: id,
              authorization: hashedReference(intent)
            })
            const verdict = found === undefined ? "raised" : yield* giveBack(group, intent, asked, found)
            return told(verdict, judgement.text)
          }
        }
      })
    ).pipe(
      // Refused by what somebody else has done meanwhile, or by what cannot be given back: the next look finds what is true then.
      Effect.catch((error) =>
        error._tag === "RefundNotPossible"
          ? Effect.succeed(told("raised", `it cannot be refunded: ${error.because}`))
          : Effect.fail(busy)
      ),
      Effect.withSpan("payment.review", { attributes: { checkoutId: id } }, { captureStackTrace: false })
    )

  placement.serve(MoneyReview, { Review: review })
})

const told = (verdict: MoneyReviewed["verdict"], text?: string): MoneyReviewed => ({
  verdict,
  ...(text === undefined ? {} : { text })
})

/** Nothing is known of it but what the provider says. */
const blank = {
  _tag: "Present",
  status: "failed",
  saga: "none",
  captureKey: 1,
  captureRetryCount: 0,
  captureRefused: false,
  captured: 0n,
  refunded: 0n,
  resolutions: 0
} as const

/** Stands for an authorization which no attempt of the payment has any more, in keys and records: attempts never get that far. */
const orphanAttempt = (intent: string): number =>
  100_000 + (createHash("sha256").update(intent).digest().readUInt32BE(0) % 900_000)

const keysOf = (id: string, { id: refund, suffix }: Refund): ReadonlyArray<string> =>
  Array.from({ length: suffix }, (_, index) => providerKeys.refund(id, refund, index + 1))

const endingOf = (refund: Refund | undefined): "corrected" | "left" | "raised" => {
  if (refund === undefined) return "raised"
  if (refund.status === "completed" || refund.reference !== undefined) return "corrected"
  return isGivenUp(refund) || refund.status === "failed" ? "left" : "corrected"
}

const standingOf = ({ order, payment: { state }, session }: Group, recorded: boolean): Standing => ({
  ...(state._tag === "Absent"
    ? { intent: undefined, saga: "none", amount: 0n, captured: 0n, refunded: 0n, refundPending: 0n, waiting: false }
    : {
        intent: state.intent,
        saga: state.saga,
        amount: state.amount,
        captured: state.captured,
        refunded: state.refunded,
        refundPending: pendingOf(state),
        waiting: state.saga === "none" && state.nextAttemptAt !== undefined
      }),
  confirming: session.state._tag === "Present" && session.state.status === "confirming",
  order:
    order.state._tag === "Absent"
      ? "none"
      : order.state.status === "cancelled" || order.state.status === "failed"
        ? "over"
        : "living",
  recorded
})

export const layer: Layer.Layer<
  never,
  never,
  Actors | CheckoutActors | CheckoutContext | CheckoutFlow | Journal | PaymentGateway | Placement | Store
> = Layer.effectDiscard(make)
