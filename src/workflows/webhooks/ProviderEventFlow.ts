/**
 * Keeps what providers tell us, and lets it have its effect: once, on the node of the payment, in the unit which also closes the event.
 * One that a crash left behind is taken up by its timer; one that cannot be handled is tried again, then set aside. REQUIREMENTS C.8.
 */
import { Cause, DateTime, Effect, Exit, Fiber, FiberMap, Layer, Metric, Option, Redacted, Result, Schema } from "effect"
import { Promotions } from "../../catalog/Promotions.ts"
import { CheckoutId, IdempotencyKey } from "../../domain/Ids.ts"
import { Unavailable } from "../../domain/Refusals.ts"
import { PaymentDeclined } from "../../entities/checkoutSession/CheckoutSession.ts"
import type { PresentPayment } from "../../entities/payment/Payment.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { RefundId } from "../../entities/payment/Refund.ts"
import {
  EventConflict,
  EventContradiction,
  eventKeyOf,
  type PaymentFact,
  type PresentEvent,
  ProviderEvent,
  type ProviderNews
} from "../../entities/providerEvent/ProviderEvent.ts"
import { handleTimer, type ProviderEventDefinition } from "../../entities/providerEvent/ProviderEventActor.ts"
import { type Command, isSame, type Trouble } from "../../entities/providerEvent/ProviderEventDecider.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import type { Cell } from "../../runtime/Actor.ts"
import { Journal } from "../../runtime/Journal.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Store } from "../../runtime/Store.ts"
import { Timers } from "../../runtime/Timers.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import { Captures } from "../capture/Captures.ts"
import { cellsOf, type Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
// oxlint-disable-next-line no-restricted-imports -- an event wakes the process itself, not who asked for it
import { CheckoutFlow } from "../checkout/CheckoutFlow.ts"
import { type Attempt, attemptOf } from "../checkout/CheckoutSteps.ts"
import { promotionUse } from "../checkout/CheckoutTerms.ts"
import {
  chargedBack,
  type Conclusion,
  conclude,
  holds,
  impossible,
  moneyWithoutOrder,
  wasTaken,
  weigh
} from "./NewsRules.ts"

export interface WebhookLimits {
  /** Events of no payment of ours which are kept, e.g. of another shop on the same account; more are only counted. */
  readonly unmatchedMax: number
}

const settledTotal = Metric.counter("webhook_events_total", {
  description: "Events of payment providers by what became of them",
  incremental: true
})

/** Vain for now: tried again later. */
class NotYet {
  readonly _tag = "NotYet"
  readonly error: string
  constructor(error: string) {
    this.error = error
  }
}

type End = Omit<Extract<Command, { readonly _tag: "Settle" }>, "_tag">

const make = Effect.fnUntraced(function* (definition: ProviderEventDefinition, limits: WebhookLimits) {
  const { exclusively, stepsOn, withCurrent, withGroup } = yield* CheckoutContext
  const flow = yield* CheckoutFlow
  const gateway = yield* PaymentGateway
  const journal = yield* Journal
  const placement = yield* Placement
  const promotions = yield* Promotions
  const store = yield* Store
  const timers = yield* Timers
  const scope = yield* Effect.scope
  const captures = placement.client(Captures)
  const running = yield* FiberMap.make<string, void, unknown>()

  const cellOf = (key: string, bucket: number) => journal.cell(definition, key, bucket)

  const settle = (transaction: Transaction, cell: Cell<ProviderEventDefinition>, end: End) => {
    // A second node's may have come first: the event is closed, and that is all that was wanted.
    transaction.execute(cell, `settle:${cell.version}`, { _tag: "Settle", ...end })
  }

  const isOpen = ({ state }: Cell<ProviderEventDefinition>): boolean =>
    state._tag === "Present" && state.status === "received"

  const close = (cell: Cell<ProviderEventDefinition>, end: End, group?: Group) =>
    journal.unit<void>({
      cells: group === undefined ? [cell] : [...cellsOf(group), cell],
      cause: `webhook ${cell.id}`,
      body: (transaction) => settle(transaction, cell, end)
    })

  /** The journal, closing the event in each unit; `endOf` is told what the unit came to. */
  const closing = (cell: Cell<ProviderEventDefinition>, endOf: (value: unknown) => End): Journal["Service"] => ({
    ...journal,
    unit: (options) =>
      journal.unit({
        ...options,
        cells: [...options.cells, cell],
        body: (transaction) => {
          const value = options.body(transaction)
          settle(transaction, cell, endOf(value))
          return value
        }
      })
  })

  const stepsClosing = (cell: Cell<ProviderEventDefinition>, outcome: string) =>
    stepsOn(closing(cell, () => ({ as: "applied", outcome }))).steps

  /** A report which the payment refuses cannot be true of it. */
  const refundsClosing = (cell: Cell<ProviderEventDefinition>, trouble?: Trouble) =>
    stepsOn(
      closing(cell, (value) =>
        Result.isResult(value) && Result.isFailure(value)
          ? { as: "applied", outcome: "raised to an operator", trouble: impossible }
          : { as: "applied", outcome: "reported", ...(trouble === undefined ? {} : { trouble }) }
      )
    ).refunds

  const retrieve = (reference: string) =>
    gateway
      .retrieve(Redacted.make(reference, { label: "authorization" }))
      .pipe(
        Effect.catch((error) =>
          error._tag === "NotPossible" && error.code === "resource_missing"
            ? Effect.succeed(undefined)
            : Effect.fail(new NotYet(error._tag))
        )
      )

  /** Of our checkout, but not its payment's authorization: an earlier attempt's, or one that nobody of us knows. */
  const elsewhere = Effect.fnUntraced(function* (
    cell: Cell<ProviderEventDefinition>,
    { news }: PresentEvent,
    group: Group
  ) {
    const { fact, intent } = news
    if (news.provider !== "stripe" || intent === undefined) {
      return yield* close(cell, unmatched(news), group)
    }
    if (fact._tag === "Chargeback") return yield* close(cell, unmatched(news), group)
    if (fact._tag !== "Authorized" && fact._tag !== "Captured") {
      return yield* close(cell, { as: "ignored", outcome: "of an earlier attempt" }, group)
    }
    const found = yield* retrieve(intent)
    yield* close(
      cell,
      found !== undefined && holds(found)
        ? { as: "unmatched", outcome: "money without an order", trouble: moneyWithoutOrder }
        : { as: "ignored", outcome: "of an earlier attempt" },
      group
    )
  })

  /** The provider is asked, and what it says is done. */
  const act = Effect.fnUntraced(function* (cell: Cell<ProviderEventDefinition>, event: PresentEvent, group: Group) {
    const payment = group.payment.state
    const session = group.session.state
    if (payment._tag === "Absent" || session._tag === "Absent" || payment.intent === undefined) {
      return yield* Effect.fail(new NotYet("the payment has moved"))
    }
    const attempt: Attempt = { ...attemptOf(session), number: payment.attempt }
    const found = yield* retrieve(payment.intent)
    if (found === undefined) {
      return yield* close(cell, { as: "ignored", outcome: "the provider does not know it" }, group)
    }
    const told = conclude(event.news.fact, payment, found)
    // Of a checkout which has been given up, money that was taken all the same goes nowhere by itself.
    const live = session.status === "confirming" || session.status === "confirmed"
    const conclusion: Conclusion =
      told._tag === "Finish" && !live ? { _tag: "Discrepancy", discrepancy: moneyWithoutOrder } : told
    switch (conclusion._tag) {
      case "Nothing":
        return yield* close(cell, { as: "applied", outcome: conclusion.outcome }, group)
      case "Discrepancy":
        yield* Effect.logWarning("A provider's event does not agree with its payment", {
          paymentId: group.id,
          kind: conclusion.discrepancy.kind
        })
        return yield* close(
          cell,
          { as: "applied", outcome: "raised to an operator", trouble: conclusion.discrepancy },
          group
        )
      case "GoOn":
        return "goOn" as const
      case "Place": {
        const { amount, capturableUntil } = conclusion.intent
        yield* stepsClosing(cell, "placed").place(group, attempt, {
          _tag: "Authorized",
          amount,
          ...(capturableUntil === undefined ? {} : { holdUntil: capturableUntil })
        })
        return "goOn" as const
      }
      case "Decline": {
        const { code, message } = conclusion
        if (session.promotionCode !== undefined) {
          yield* promotions.release(promotionUse(group.id, attempt.number, session.promotionCode))
        }
        yield* stepsClosing(cell, "declined").reject(group, attempt, new PaymentDeclined({ code, message }), {
          _tag: "Declined",
          code,
          intent: payment.intent
        })
        return undefined
      }
      case "Resolve": {
        const settlement = yield* Conversation.settle(gateway, group.id, payment)
        if (settlement._tag === "Unsettled") return yield* Effect.fail(new NotYet(settlement.error))
        return yield* stepsClosing(cell, "given back").resolved(group, attempt, settlement)
      }
      case "Finish": {
        const steps = stepsClosing(cell, "captured")
        // A deferred capture finds its order confirmed.
        yield* session.status === "confirmed"
          ? steps.captured(group, attempt, conclusion.amount)
          : steps.finish(group, attempt, conclusion.amount)
        return "goOn" as const
      }
      case "HoldGone":
        if (payment.saga === "capture_failed") {
          // Its next retry looks the payment up, finds that, and undoes the order.
          return yield* close(cell, { as: "applied", outcome: "left to the next retry" }, group)
        }
        yield* stepsClosing(cell, "the hold is gone").captureFailed(group, attempt, payment.captureRetryCount, {
          _tag: "Failed",
          code: "hold_gone",
          definite: true,
          answered: true
        })
        return "goOn" as const
    }
  })

  /** What the provider says of a refund, by its own word when asked. */
  const refundMoved = Effect.fnUntraced(function* (
    cell: Cell<ProviderEventDefinition>,
    news: ProviderNews,
    fact: Extract<PaymentFact, { readonly _tag: "Refund" }>,
    group: Group,
    payment: PresentPayment
  ) {
    const all = yield* gateway
      .refunds(Redacted.make(payment.intent ?? "", { label: "authorization" }))
      .pipe(Effect.mapError((error) => new NotYet(error._tag)))
    const found = all.find(({ id }) => Redacted.value(id) === fact.refund)
    if (found === undefined) {
      return yield* close(cell, { as: "applied", outcome: "raised to an operator", trouble: impossible }, group)
    }
    const ours = fact.ours === undefined ? Option.none() : asRefundId(fact.ours)
    yield* refundsClosing(cell)
      .reported(group, keyOf(news), {
        _tag: "RefundReported",
        ...(Option.isSome(ours) ? { refund: ours.value } : {}),
        reference: fact.refund,
        status: found.status,
        amount: found.amount,
        ...(found.failure === undefined ? {} : { code: found.failure })
      })
      .pipe(Effect.catchTags(refusals))
  })

  /** An issuer's claim is its own word: the provider only passes it on. */
  const chargedBackBy = Effect.fnUntraced(function* (
    cell: Cell<ProviderEventDefinition>,
    news: ProviderNews,
    { amount, chargeback, reason, status }: Extract<PaymentFact, { readonly _tag: "Chargeback" }>,
    group: Group
  ) {
    yield* refundsClosing(cell, status === "opened" ? chargedBack : undefined)
      .reported(group, keyOf(news), { _tag: "ChargebackReported", chargeback, amount, reason, status })
      .pipe(Effect.catchTags(refusals))
  })

  /** Money given or taken back, once it was taken. */
  const givenBack = Effect.fnUntraced(function* (
    cell: Cell<ProviderEventDefinition>,
    { news }: PresentEvent,
    group: Group
  ) {
    const payment = group.payment.state
    const { fact } = news
    if (payment._tag === "Absent") return yield* close(cell, unmatched(news), group)
    switch (wasTaken(payment)) {
      case "no":
        return yield* close(cell, { as: "applied", outcome: "raised to an operator", trouble: impossible }, group)
      case "not_yet":
        return yield* Effect.fail(new NotYet("not captured yet"))
      case "yes":
        if (fact._tag === "Refund") return yield* refundMoved(cell, news, fact, group, payment)
        if (fact._tag === "Chargeback") return yield* chargedBackBy(cell, news, fact, group)
    }
  })

  /** The process which waits for this takes its next step. */
  const goOn = (id: CheckoutId, key: IdempotencyKey) =>
    withGroup(id, ({ payment, session }) =>
      session.state._tag === "Present" &&
      session.state.status === "confirmed" &&
      payment.state._tag === "Present" &&
      payment.state.saga !== "captured"
        ? Effect.asVoid(captures(id).Capture({ key }))
        : flow.drive(id)
    )

  /** One try. */
  const handle = (cell: Cell<ProviderEventDefinition>): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      const event = cell.state
      if (event._tag === "Absent" || event.status !== "received") return
      const { payment: id } = event
      if (id === undefined) return yield* close(cell, unmatched(event.news))
      const next = yield* exclusively(id)(
        withCurrent(
          id,
          Effect.fnUntraced(function* (group) {
            switch (weigh(event.news, group.payment.state)) {
              case "unmatched":
                yield* close(cell, unmatched(event.news), group)
                return undefined
              case "known":
                yield* close(cell, known, group)
                return undefined
              case "elsewhere":
                yield* elsewhere(cell, event, group)
                return undefined
              case "refund":
              case "chargeback":
                yield* givenBack(cell, event, group)
                return undefined
              case "ask":
                return yield* act(cell, event, group)
            }
          })
        )
      )
      if (next !== "goOn") return
      yield* goOn(id, keyOf(event.news))
      // What the process has made of it is durable by now, each step of it.
      if (isOpen(cell)) yield* close(cell, { as: "applied", outcome: "gone on" })
    })

  const counted = (cell: Cell<ProviderEventDefinition>) =>
    Effect.suspend(() => {
      const { state } = cell
      return state._tag === "Absent" || state.status === "received"
        ? Effect.void
        : Metric.update(Metric.withAttributes(settledTotal, { provider: state.news.provider, result: state.status }), 1)
    })

  /** Handles it, and counts a failure of it; only that its own record cannot be written is a failure here. */
  const attempt = (key: string, bucket: number): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      const cell = yield* cellOf(key, bucket)
      const exit = yield* Effect.exit(handle(cell))
      if (Exit.isFailure(exit)) {
        if (!Cause.hasFails(exit.cause) && !Cause.hasDies(exit.cause)) return yield* Effect.failCause(exit.cause)
        // Overload and outages of our own are not the event's fault.
        if (isUnavailable(exit.cause)) return yield* Effect.failCause(exit.cause)
        const error = errorOf(exit.cause)
        yield* Effect.logWarning("A provider's event could not be handled", { event: key, error })
        yield* journal.unit<void>({
          cells: [cell],
          cause: `webhook ${key}`,
          body: (transaction) => {
            transaction.execute(cell, `fail:${cell.version}`, { _tag: "Fail", error })
          }
        })
      }
      yield* counted(cell)
    })

  /** Whoever asks for it, an event is handled by one fiber of this node at a time. */
  const launch = (key: string, bucket: number) =>
    Effect.suspend(() => {
      const found = FiberMap.getUnsafe(running, key)
      return Option.isSome(found) ? Effect.succeed(found.value) : FiberMap.run(running, key, attempt(key, bucket))
    })

  let unmatchedSeen: { readonly full: boolean; readonly until: number } = { full: false, until: 0 }
  /** Looked at every ten seconds: the bound is there against years, not against bursts. */
  const isFull = Effect.gen(function* () {
    const { epochMilliseconds: now } = yield* DateTime.now
    if (now < unmatchedSeen.until) return unmatchedSeen.full
    const [row] = yield* store.query(
      "select count(*)::int as count from (select from payment.provider_events where status = 'unmatched' limit $1::int) as kept",
      [limits.unmatchedMax]
    )
    unmatchedSeen = { full: Number(row?.["count"] ?? 0) >= limits.unmatchedMax, until: now + 10_000 }
    return unmatchedSeen.full
  }).pipe(Effect.mapError(() => busy))

  const receive = Effect.fn("ProviderEvents.receive")(function* (
    id: string,
    { news, payment }: { readonly news: ProviderNews; readonly payment: boolean }
  ): Effect.fn.Return<"accepted" | "duplicate", EventContradiction | Unavailable> {
    const key = eventKeyOf(news)
    const bucket = placement.bucketOf(id)
    const cell = yield* cellOf(key, bucket)
    if (!payment && cell.state._tag === "Absent" && (yield* isFull)) {
      yield* Metric.update(Metric.withAttributes(settledTotal, { provider: news.provider, result: "not_kept" }), 1)
      return "accepted"
    }
    const keep = (group: Group | undefined) =>
      journal.unit<"accepted" | "duplicate" | "contradiction">({
        cells: group === undefined ? [cell] : [...cellsOf(group), cell],
        cause: `webhook ${key}`,
        body: (transaction) => {
          const before = transaction.state(cell)
          if (before._tag === "Present") {
            if (isSame(before.news, news)) return "duplicate"
            transaction.execute(cell, `contradict:${news.type}:${news.object}`, { _tag: "Contradict", type: news.type })
            return "contradiction"
          }
          transaction.execute(cell, "receive", {
            _tag: "Receive",
            news,
            ...(payment ? { payment: CheckoutId.make(id) } : {})
          })
          // Most are: our own calls have been answered long before.
          const isKnown = group !== undefined && weigh(news, transaction.state(group.payment)) === "known"
          if (isKnown) settle(transaction, cell, known)
          return "accepted"
        }
      })
    const answer = yield* (payment ? withGroup(id, keep) : keep(undefined)).pipe(
      Effect.catchTag("IdempotencyConflict", () => Effect.fail(busy))
    )
    if (answer === "contradiction") {
      yield* Effect.logError("A provider's event came again with another content", { event: key, type: news.type })
      return yield* new EventContradiction()
    }
    if (isOpen(cell)) yield* Effect.forkIn(Effect.ignore(launch(key, bucket)), scope)
    else if (answer === "accepted") yield* counted(cell)
    return answer
  })

  const replay = (
    id: string,
    { eventId, provider }: Pick<ProviderNews, "eventId" | "provider">
  ): Effect.Effect<void, EventConflict | Unavailable> =>
    Effect.gen(function* () {
      const key = eventKeyOf({ eventId, provider })
      const bucket = placement.bucketOf(id)
      const cell = yield* cellOf(key, bucket)
      const replayed = yield* journal.unit<Result.Result<unknown, EventConflict>>({
        cells: [cell],
        cause: `webhook ${key} is replayed`,
        body: (transaction) => transaction.execute(cell, `replay:${cell.version}`, { _tag: "Replay" })
      })
      yield* Effect.fromResult(replayed)
      yield* Effect.forkIn(Effect.ignore(launch(key, bucket)), scope)
    }).pipe(Effect.catchTag("IdempotencyConflict", () => Effect.fail(busy)))

  placement.serve(ProviderEvent, { Receive: receive, Replay: replay })
  timers.onDue(ProviderEvent.type, (key, _, __, bucket) => Effect.flatMap(launch(key, bucket), Fiber.join), handleTimer)
})

const busy = new Unavailable({ retryAfterMs: 1000 })

const asRefundId = Schema.decodeUnknownOption(RefundId)

const keyOf = (news: ProviderNews): IdempotencyKey => IdempotencyKey.make(`webhook:${eventKeyOf(news)}`.slice(0, 128))

/** Remembered by the payment, and told by the event's own end. */
const refusals = {
  PaymentConflict: () => Effect.void,
  RefundNotPossible: () => Effect.void,
  RefundTooLarge: () => Effect.void
}

const known: End = { as: "applied", outcome: "known already" }

/** Nothing of ours is behind it. With money in it, somebody has to know. */
const unmatched = ({ fact }: ProviderNews): End => ({
  as: "unmatched",
  outcome: "no payment of ours",
  ...(fact._tag === "Authorized" || fact._tag === "Captured" || fact._tag === "Chargeback"
    ? { trouble: moneyWithoutOrder satisfies Trouble }
    : {})
})

const isUnavailable = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) => reason._tag === "Fail" && reason.error instanceof Unavailable)

/** Tags and codes only: texts of a provider name authorizations. */
const errorOf = (cause: Cause.Cause<unknown>): string => {
  const failed = cause.reasons.find((reason) => reason._tag === "Fail")
  if (failed === undefined) return "defect"
  if (failed.error instanceof NotYet) return failed.error.error
  const { _tag: tag } = (failed.error ?? {}) as { readonly _tag?: unknown }
  return typeof tag === "string" ? tag : "failure"
}

export const layer = (
  definition: ProviderEventDefinition,
  limits: WebhookLimits
): Layer.Layer<
  never,
  never,
  CheckoutContext | CheckoutFlow | Journal | PaymentGateway | Placement | Promotions | Store | Timers
> => Layer.effectDiscard(make(definition, limits))
