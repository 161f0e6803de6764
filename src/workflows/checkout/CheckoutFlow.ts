/**
 * The story of a checkout: freeze the cart, check everything, claim the stock, set the money aside, place the order, take the money, bind
 * the stock, confirm. Driven directly on units: after a crash, or on a new owner, it runs again from the top and finds what is done.
 */
import { randomUUID } from "node:crypto"
import {
  Cause,
  Context,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberMap,
  Layer,
  Option,
  Predicate,
  Redacted
} from "effect"
import { WorkflowEngine } from "effect/workflow"
import { Promotions } from "../../catalog/Promotions.ts"
import { CustomerId, IdempotencyKey as Key, type IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import type { Money } from "../../domain/Money.ts"
import {
  AccessDenied,
  IdempotencyConflict,
  IllegalTransition,
  ServiceTimeout,
  Unavailable
} from "../../domain/Refusals.ts"
import { withTimeLimit } from "../../domain/TimeLimit.ts"
import { Cart } from "../../entities/cart/Cart.ts"
import { lockTimer } from "../../entities/cart/CartActor.ts"
import {
  type AttemptOutcome,
  CheckoutClosed,
  CheckoutIncomplete,
  CheckoutSession,
  isOffline,
  PaymentDeclined,
  PaymentUnavailable,
  type PresentCheckout,
  PriceChanged,
  type Rejection
} from "../../entities/checkoutSession/CheckoutSession.ts"
import { watchdogTimer } from "../../entities/checkoutSession/CheckoutSessionActor.ts"
import { attemptWith, latestOutcome, mayBegin } from "../../entities/checkoutSession/CheckoutSessionDecider.ts"
import { Order } from "../../entities/order/Order.ts"
import { windowIsOver } from "../../entities/order/OrderDecider.ts"
import { expiryTimer as orderExpiry } from "../../entities/order/OrderActor.ts"
import { type IntentReference, Payment, type PresentPayment } from "../../entities/payment/Payment.ts"
import { actionTimer, holdTimer, resolveTimer } from "../../entities/payment/PaymentActor.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { RateLimiter } from "../../entities/rateLimiter/RateLimiter.ts"
import { Reservation } from "../../entities/reservation/Reservation.ts"
import { expiryTimer as reservationExpiry } from "../../entities/reservation/ReservationActor.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Journal } from "../../runtime/Journal.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Store } from "../../runtime/Store.ts"
import { instantOf } from "../../runtime/Table.ts"
import { Timers } from "../../runtime/Timers.ts"
import { CapturePayment } from "../capture/Capture.ts"
import { reasonToGiveUp } from "../capture/ReasonToGiveUp.ts"
import { PaymentCompensation } from "../compensation/Compensation.ts"
import { Checkout, CheckoutCompensated, Confirmation, type ConfirmRefusal, RateLimited } from "./Checkout.ts"
import { cellsOf, type Group } from "./CheckoutActors.ts"
import { CheckoutContext } from "./CheckoutContext.ts"
import { type Attempt, attemptOf, isDeferred, type StepConflict } from "./CheckoutSteps.ts"
import { CheckoutTerms, promotionUse } from "./CheckoutTerms.ts"
import * as FrozenCart from "./FrozenCart.ts"

/** The checkout process on this node: it answers the contract `Checkout` and looks after what a dead node left behind. */
export class CheckoutFlow extends Context.Service<
  CheckoutFlow,
  {
    /** Goes on with a confirmation which has begun, until it has ended or waits for somebody. */
    readonly drive: (id: string) => Effect.Effect<void, Unavailable>
  }
>()("cartwright/workflows/checkout/CheckoutFlow") {}

interface By {
  readonly by: CustomerId
}

type Fault = StepConflict | Unavailable | IdempotencyConflict

/** What the provider has said of an attempt, and of which intent; none when it did not get as far. */
interface Answered {
  readonly answer: Conversation.Authorization | Extract<Conversation.Creation, { readonly _tag: "Away" }>
  readonly intent: IntentReference | undefined
}

type Unsettled = Extract<Conversation.Settlement, { readonly _tag: "Unsettled" }>

/** What a confirmation has heard that may not be its own. */
interface Joined {
  readonly confirmKey: IdempotencyKey
  readonly expectedTotal: Money | undefined
  /** The latest attempt when it asked. */
  readonly after: number
  /** The tag of the refusal it hears. */
  readonly told: string
}

const busy = new Unavailable({ retryAfterMs: 500 })
/** What is known here is out of date, or belongs to another node by now: whoever asks again is answered. */
const outdated = new Unavailable({ retryAfterMs: 100 })

export const make = Effect.gen(function* () {
  const { exclusively, limits, offline, steps, withCurrent, withGroup } = yield* CheckoutContext
  const gateway = yield* PaymentGateway
  const journal = yield* Journal
  const placement = yield* Placement
  const promotions = yield* Promotions
  const store = yield* Store
  const terms = yield* CheckoutTerms
  const timers = yield* Timers
  const engine = yield* WorkflowEngine.WorkflowEngine
  const scope = yield* Effect.scope
  const carts = placement.client(Cart)
  const frozenCarts = yield* FrozenCart.make
  const sessions = placement.client(CheckoutSession)
  const rates = placement.client(RateLimiter)
  const running = yield* FiberMap.make<string, void, Unavailable>()
  const starting = new Map<string, Deferred.Deferred<void, ConfirmRefusal | IdempotencyConflict>>()
  const lookedAt = new Map<string, number>()

  const begin = (
    workflow: "capture" | "compensate",
    group: Group,
    attempt: Attempt,
    reason:
      | "payment_capture_exhausted"
      | "stock_confirmation_failed"
      | "authorization_expired"
      | "payment_failed"
      | "order_expired" = "payment_failed"
  ) => {
    const orderId = OrderId.make(group.id)
    const started =
      workflow === "capture"
        ? CapturePayment.execute({ orderId, attempt: attempt.number }, { discard: true })
        : PaymentCompensation.execute({ orderId, attempt: attempt.number, reason }, { discard: true })
    return Effect.asVoid(started).pipe(Effect.provideService(WorkflowEngine.WorkflowEngine, engine))
  }

  const releasePromotion = (group: Group, attempt: Attempt) => {
    const { state } = group.session
    return state._tag === "Present" && state.promotionCode !== undefined
      ? promotions.release(promotionUse(group.id, attempt.number, state.promotionCode))
      : Effect.void
  }

  // --- Before anything is claimed ---

  /** From an open checkout to claimed stock and the durable intent to charge; or to a stored refusal. */
  const start = Effect.fn("checkout.confirm")(function* (
    group: Group,
    session: PresentCheckout,
    confirmKey: IdempotencyKey,
    expectedTotal: Money | undefined
  ) {
    const { id } = group
    const attempt: Attempt = {
      number: session.attempt + 1,
      confirmKey,
      ...(expectedTotal === undefined ? {} : { expectedTotal })
    }
    const { payment } = { payment: group.payment.state }
    if (payment._tag === "Present" && payment.status !== "failed" && payment.status !== "voided") {
      // What an earlier attempt may still hold is given back first: one hold at a time.
      return yield* new Unavailable({ retryAfterMs: 5000 })
    }
    const refuse = (rejection: Rejection) =>
      Effect.andThen(releasePromotion(group, attempt), steps.refuse(group, attempt, rejection))
    const frozen = yield* frozenCarts.of(session, id, attempt.number)
    const cart = frozen.view
    const unlock = frozen.within === undefined ? frozenCarts.release(session.cartId, id, attempt.number) : Effect.void
    if (cart.currency !== undefined && cart.currency !== session.currency) {
      return yield* refuse(
        new CheckoutIncomplete({
          problems: [
            { field: "currency", message: `the cart is in ${cart.currency}, the checkout in ${session.currency}` }
          ]
        })
      )
    }
    const computed = yield* Effect.exit(terms.compute(session, cart.lines, { final: true }))
    if (Exit.isFailure(computed)) {
      const refusal = computed.cause.reasons.find((reason) => reason._tag === "Fail")?.error
      if (refusal === undefined) return yield* Effect.die(Cause.squash(computed.cause))
      if (refusal._tag !== "Unavailable") return yield* refuse(refusal)
      yield* unlock
      return yield* refusal
    }
    const { lines, totals } = computed.value
    const now: Money = { amount: totals.total, currency: session.currency }
    if (
      expectedTotal !== undefined &&
      (expectedTotal.amount !== now.amount || expectedTotal.currency !== now.currency)
    ) {
      return yield* refuse(new PriceChanged({ expected: expectedTotal, now, lines }))
    }
    // What costs nothing is paid for, whatever way was chosen.
    const chosen = totals.total === 0n ? undefined : session.paymentMethod
    const method = chosen !== undefined && isOffline(chosen) ? chosen : undefined
    if (method !== undefined && !limits.offlineMethods.includes(method)) {
      return yield* refuse(
        new CheckoutIncomplete({ problems: [{ field: "paymentMethod", message: `${method} is not offered` }] })
      )
    }
    if (session.promotionCode !== undefined) {
      yield* promotions
        .reserve(promotionUse(id, attempt.number, session.promotionCode), {
          customerId: session.owner,
          subtotal: { amount: totals.subtotal, currency: session.currency },
          lines: lines.map(({ quantity, sku, unitPrice }) => ({
            sku,
            quantity,
            unitPrice: { amount: unitPrice, currency: session.currency }
          }))
        })
        .pipe(Effect.ignore)
    }
    // From here on a new owner has to find it at once, and looks for it when it gets the bucket. The cart stays locked: that owner may be
    // at work on this very attempt by now, and the cart's own timer unlocks it otherwise.
    if (!placement.isLocal(group.session.bucket)) return yield* outdated
    const bought = { lines, totals, cartRevision: cart.revision }
    if (method !== undefined) {
      const placed = yield* offline.place(group, attempt, session, bought, { freezing: frozen.within, method })
      if (placed._tag !== "Placed") yield* releasePromotion(group, attempt)
      return
    }
    const outcome = yield* steps.reserve(group, attempt, session, bought, frozen.within)
    if (outcome !== undefined) yield* releasePromotion(group, attempt)
  })

  // --- With stock claimed ---

  /** Sets the money aside within its time limit. */
  const authorize = (
    group: Group,
    attempt: Attempt,
    session: PresentCheckout,
    payment: PresentPayment
  ): Effect.Effect<Answered, Fault> => {
    let { intent } = payment
    return Effect.gen(function* () {
      // Whoever has made it may have used it.
      const again = intent !== undefined
      if (intent === undefined) {
        const created = yield* Conversation.create(gateway, group.id, payment, session.paymentMethod ?? "")
        if (created._tag !== "Created") return { answer: created, intent }
        intent = created.intent
        yield* steps.intent(group, attempt, intent)
      }
      return { answer: yield* Conversation.authorize(gateway, group.id, payment, intent, again), intent }
    }).pipe(
      withTimeLimit(limits.paymentTimeout, () => {
        const afterMs = Math.round(Duration.toMillis(limits.paymentTimeout))
        return Effect.succeed<Answered>({ answer: { _tag: "Unknown", afterMs }, intent })
      })
    )
  }

  const reject = (group: Group, attempt: Attempt, rejection: Rejection, payment: Parameters<typeof steps.reject>[3]) =>
    Effect.andThen(releasePromotion(group, attempt), steps.reject(group, attempt, rejection, payment))

  const authorized: (group: Group, attempt: Attempt, answered: Answered) => Effect.Effect<"goOn" | "wait", Fault> =
    Effect.fnUntraced(function* (group, attempt, { answer, intent }) {
      const { state: asked } = group.payment
      if (answer._tag === "Authorized" && asked._tag === "Present" && answer.amount !== asked.amount) {
        yield* Effect.logError("A hold is not for the amount that was asked for; it is given back", {
          checkoutId: group.id
        })
        return yield* authorized(group, attempt, { answer: { _tag: "Unknown" }, intent })
      }
      switch (answer._tag) {
        case "Authorized":
          yield* steps.place(group, attempt, answer)
          return "goOn"
        case "RequiresAction":
          yield* steps.actionRequired(group, attempt)
          return "wait"
        case "Declined": {
          const { code, message } = answer
          yield* reject(group, attempt, new PaymentDeclined({ code, message }), { _tag: "Declined", code, intent })
          break
        }
        case "Away": {
          const { retryAfterMs } = answer
          const payment = { _tag: "Declined", code: "provider_unavailable", intent } as const
          yield* reject(group, attempt, new PaymentUnavailable({ retryAfterMs }), payment)
          break
        }
        case "Unknown": {
          const { afterMs, retryAfterMs = 5000 } = answer
          const rejection =
            afterMs === undefined
              ? new PaymentUnavailable({ retryAfterMs })
              : new ServiceTimeout({ service: "payment", afterMs })
          // An intent the provider never told us of was never confirmed by us either: it holds nothing.
          yield* reject(
            group,
            attempt,
            rejection,
            intent === undefined ? { _tag: "Declined", code: "outcome_unknown", intent } : { _tag: "Unknown" }
          )
          break
        }
      }
      const { state } = group.payment
      if (state._tag === "Present" && state.nextAttemptAt !== undefined) {
        yield* Effect.forkIn(Effect.ignore(resolveSoon(group.id)), scope)
      }
      return "goOn"
    })

  /** The customer has been asked to prove who they are: what came of it? */
  const afterAction = Effect.fnUntraced(function* (
    group: Group,
    attempt: Attempt,
    payment: PresentPayment
  ): Effect.fn.Return<"goOn" | "wait", Fault> {
    const now = yield* DateTime.now
    const { intent } = payment
    const answer = yield* Conversation.afterAction(gateway, intent!)
    if (answer._tag === "Authorized" || answer._tag === "Declined") {
      return yield* authorized(group, attempt, { answer, intent })
    }
    if (DateTime.isLessThan(now, payment.actionUntil!)) return "wait"
    // The time is over: nothing may be held by it any more.
    const settlement = yield* Conversation.settle(gateway, group.id, payment)
    const rejection = new PaymentDeclined({
      code: "authentication_timeout",
      message: "The payment was not authenticated in time."
    })
    yield* reject(group, attempt, rejection, settlement._tag === "Voided" ? { _tag: "Voided" } : { _tag: "Unknown" })
    return "goOn"
  })

  const taken = Effect.fnUntraced(function* (group: Group, attempt: Attempt, captured: bigint | undefined) {
    const confirmed = yield* steps.finish(group, attempt, captured)
    if (!confirmed) yield* begin("compensate", group, attempt, "stock_confirmation_failed")
  })

  /** One step further; `wait` when somebody else has to move first. */
  const advance = Effect.fnUntraced(function* (group: Group, again: boolean): Effect.fn.Return<"goOn" | "wait", Fault> {
    const session = group.session.state
    if (session._tag === "Absent" || session.status !== "confirming") return "wait"
    const attempt = attemptOf(session)
    const payment = group.payment.state
    if (payment._tag === "Absent") return yield* Effect.die(new Error("a confirmation without its payment"))
    if (payment.amount === 0n) {
      if (group.order.state._tag === "Absent") yield* steps.place(group, attempt, undefined)
      yield* taken(group, attempt, undefined)
      return "wait"
    }
    switch (payment.saga) {
      case "none": {
        if (payment.actionUntil !== undefined) return yield* afterAction(group, attempt, payment)
        return yield* authorized(group, attempt, yield* authorize(group, attempt, session, payment))
      }
      case "authorized":
        if (isDeferred(payment) && group.order.state._tag === "Placed") {
          yield* taken(group, attempt, undefined)
          return "wait"
        }
        yield* steps.place(group, attempt, undefined)
        return "goOn"
      case "capture_pending": {
        if (payment.failure !== undefined) {
          // A retry: those are made by one process alone. REQ-CAP-10.
          yield* begin("capture", group, attempt)
          return "wait"
        }
        const captured = yield* Conversation.capture(gateway, group.id, payment, again)
        if (captured._tag === "Captured") {
          yield* taken(group, attempt, captured.amount)
          return "wait"
        }
        yield* steps.captureFailed(group, attempt, 0, captured)
        return "goOn"
      }
      case "capture_failed":
        yield* payment.captureRefused
          ? begin("compensate", group, attempt, reasonToGiveUp(payment))
          : begin("capture", group, attempt)
        return "wait"
      case "captured":
        yield* taken(group, attempt, undefined)
        return "wait"
      case "voided":
      case "refunded":
        yield* begin("compensate", group, attempt)
        return "wait"
    }
  })

  const goOn = (id: string, again: boolean): Effect.Effect<void, Unavailable> =>
    withGroup(
      id,
      Effect.fnUntraced(function* (group) {
        // Another node may have gone on with it meanwhile: that there is nothing to do is decided without a write.
        if (again) yield* journal.reread(cellsOf(group))
        let first = again
        for (let faults = 0; faults < 10;) {
          if (!placement.isLocal(group.session.bucket)) return
          const exit = yield* Effect.exit(exclusively(id)(advance(group, first)))
          if (Exit.isSuccess(exit)) {
            if (exit.value === "wait") return
            first = false
            continue
          }
          if (!Cause.hasFails(exit.cause)) return yield* Effect.die(Cause.squash(exit.cause))
          // Somebody was faster, or the journal is away: look again, and ask the provider before telling it anything.
          first = true
          faults++
          yield* Effect.sleep(Math.min(20 * 2 ** faults, 1000))
        }
        return yield* busy
      })
    )

  /** The one process of a checkout on this node, begun unless it is at work. */
  const launch = (id: string, again: boolean) =>
    Effect.suspend(() => {
      const found = FiberMap.getUnsafe(running, id)
      return Option.isSome(found) ? Effect.succeed(found.value) : FiberMap.run(running, id, goOn(id, again))
    })

  const drive = (id: string): Effect.Effect<void, Unavailable> => Effect.flatMap(launch(id, true), Fiber.join)

  const awaitsAction = ({ payment: { state } }: Group): boolean =>
    state._tag === "Present" &&
    state.actionUntil !== undefined &&
    state.saga === "none" &&
    state.status === "processing"

  /** Whether it is time to ask the provider about a customer who is awaited. */
  const mayAsk = (id: string, group: Group): Effect.Effect<boolean> =>
    Effect.map(DateTime.now, ({ epochMilliseconds: now }) => {
      if (!awaitsAction(group)) return true
      const interval = Duration.toMillis(limits.actionPollInterval)
      if (now - (lookedAt.get(id) ?? 0) < interval) return false
      for (const [other, at] of lookedAt) {
        if (now - at < interval) break
        lookedAt.delete(other)
      }
      lookedAt.delete(id)
      lookedAt.set(id, now)
      return true
    })

  // --- What is left of an attempt ---

  /** Gives back what an authorization of unknown outcome may hold; whether it is known now that nothing is held. */
  const settleUnknown = (
    id: string,
    whenUnsettled: (group: Group, attempt: Attempt, settlement: Unsettled, looks: number) => Effect.Effect<void, Fault>
  ): Effect.Effect<boolean, Fault> =>
    exclusively(id)(
      withCurrent(
        id,
        Effect.fnUntraced(function* (group) {
          const session = group.session.state
          const { state } = group.payment
          if (session._tag === "Absent" || state._tag === "Absent") return true
          if (state.saga !== "none" || state.nextAttemptAt === undefined) return true
          const attempt: Attempt = { number: state.attempt, confirmKey: attemptOf(session).confirmKey }
          const settlement = yield* Conversation.settle(gateway, id, state)
          if (settlement._tag === "Unsettled") {
            yield* whenUnsettled(group, attempt, settlement, state.resolutions)
            return false
          }
          yield* steps.resolved(group, attempt, settlement)
          return true
        })
      )
    )

  /** What the payment's durable timer does, until the provider has said that nothing is held, or somebody else has to ask it. N-066. */
  const resolve = (id: string): Effect.Effect<void, Fault> =>
    Effect.asVoid(
      settleUnknown(
        id,
        Effect.fnUntraced(function* (group, attempt, settlement, looks) {
          if (looks < limits.resolveLooksMax) return yield* steps.resolved(group, attempt, settlement)
          const { error } = settlement
          yield* Effect.logError("An authorization of unknown outcome is left to an operator", {
            checkoutId: id,
            error
          })
          yield* steps.unresolved(group, attempt, error)
        })
      )
    )

  /** The provider is often busy for a moment only: a few looks before the timer's first, which is behind them in any case. */
  const resolveSoon = Effect.fnUntraced(function* (id: string) {
    const first = Duration.times(limits.resolveAfter, 1 / 60)
    for (let look = 0; look < 5; look++) {
      if (yield* settleUnknown(id, () => Effect.void)) return
      yield* Effect.sleep(Duration.times(first, 2 ** look))
    }
  })

  /** The window of an order is over which waits for its money, or to be confirmed: nothing but the end can come any more. */
  const lapseOffline = Effect.fnUntraced(function* (group: Group): Effect.fn.Return<void, Fault> {
    const order = group.order.state
    if (order._tag === "Absent" || order.status !== "pending" || !windowIsOver(order, yield* DateTime.now)) return
    const session = group.session.state
    if (session._tag === "Present") yield* releasePromotion(group, attemptOf(session))
    yield* offline.expire(group)
  })

  /** Something has run out. Not while money is under way: that process decides, and looks at the claim itself. REQ-EXP-03. */
  const lapse = (id: string): Effect.Effect<void, Fault> =>
    withCurrent(
      id,
      Effect.fnUntraced(function* (group) {
        const session = group.session.state
        const payment = group.payment.state
        if (session._tag === "Absent") return
        if (session.status === "confirming") {
          yield* drive(id)
          return
        }
        if (payment._tag === "Present" && payment.method !== undefined) {
          yield* lapseOffline(group)
          return
        }
        // What is bound is sold: no claim of it runs out.
        if (group.reservation.state._tag === "Fulfilled") return
        if (payment._tag === "Present" && ["authorized", "capture_pending", "capture_failed"].includes(payment.saga)) {
          yield* begin("compensate", group, attemptOf(session), "order_expired")
          return
        }
        yield* steps.restocked(group, attemptOf(session))
      })
    )

  /** The hold cannot be captured any more: the order is given up. REQ-CAP-05. */
  const holdExpired = (id: string): Effect.Effect<void, Fault> =>
    exclusively(id)(
      withCurrent(
        id,
        Effect.fnUntraced(function* (group) {
          const session = group.session.state
          const payment = group.payment.state
          if (session._tag === "Absent" || payment._tag === "Absent") return
          const attempt = attemptOf(session)
          if (payment.saga === "authorized") {
            const failure = { _tag: "Failed", code: "authorization_expired", definite: true, answered: true } as const
            yield* steps.captureFailed(group, attempt, 0, failure)
          }
          yield* begin("compensate", group, attempt, "authorization_expired")
        })
      )
    )

  /** A cart has been locked for long: has its checkout begun, or did its node die before? */
  const lockHeld = (cartId: string): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      const [row] = yield* store.query(
        "select checkout_id, attempt, owner from checkout.carts where id = $1 and status = 'locked'",
        [cartId]
      )
      if (row === undefined) return
      const id = String(row["checkout_id"])
      const attempt = Number(row["attempt"])
      const session = sessions(id)
      const { attempt: begun, status } = yield* session.GetCheckout({ by: CustomerId.make(String(row["owner"])) })
      // Under way, it will tell the cart when it has ended; confirmed, it has: the cart is not to be bought twice.
      if (begun >= attempt && (status === "confirming" || status === "confirmed")) return
      if (begun < attempt) yield* session.AbortAttempt({ key: Key.make(`abort:${randomUUID()}`), attempt })
      yield* frozenCarts.release(cartId, id, attempt)
    })

  /** While a customer is awaited the provider is not asked at every look. */
  const watched = (id: string): Effect.Effect<void, Unavailable> =>
    withGroup(id, (group) => Effect.flatMap(mayAsk(id, group), (may) => (may ? drive(id) : Effect.void)))

  timers.onDue(CheckoutSession.type, (id) => watched(id), watchdogTimer)
  timers.onDue(Payment.type, (id) => drive(id), actionTimer)
  timers.onDue(Payment.type, (id) => resolve(id), resolveTimer)
  timers.onDue(Payment.type, (id) => holdExpired(id), holdTimer)
  timers.onDue(Reservation.type, (id) => lapse(id), reservationExpiry)
  timers.onDue(Order.type, (id) => lapse(id), orderExpiry)
  timers.onDue(Cart.type, (id) => lockHeld(id), lockTimer)
  placement.onLost((buckets) =>
    Effect.forEach(
      [...running].map(([id]) => id).filter((id) => buckets.has(placement.bucketOf(id))),
      (id) => FiberMap.remove(running, id),
      { discard: true }
    )
  )

  // --- What callers hear ---

  /** Another node may have gone on while this one was frozen: then what is remembered here is read again before anybody is answered. */
  const requireCurrent = Effect.fnUntraced(function* ({ session }: Group) {
    const { version } = session
    yield* journal.reread([session])
    if (session.version !== version) return yield* outdated
  })

  const tell = (outcome: AttemptOutcome): Effect.Effect<Confirmation, ConfirmRefusal> => {
    switch (outcome._tag) {
      case "Confirmed":
      case "Placed":
        return Effect.succeed(outcome)
      case "Rejected":
        return Effect.fail(outcome.rejection)
      case "Compensated":
        return Effect.fail(new CheckoutCompensated({ orderId: outcome.orderId, reason: outcome.reason }))
    }
  }

  const owned = (group: Group, by: CustomerId): Effect.Effect<PresentCheckout, AccessDenied> => {
    const { state } = group.session
    return state._tag === "Absent" || state.owner !== by ? Effect.fail(new AccessDenied()) : Effect.succeed(state)
  }

  /** How a confirmation under way stands, or ended behind attempt `after`; undefined while there is nothing to tell yet. */
  const standing = (group: Group, after = 0): Effect.Effect<Confirmation | undefined, ConfirmRefusal> => {
    const { state } = group.session
    if (state._tag === "Absent") return Effect.fail(new AccessDenied())
    if (state.status !== "confirming") {
      const outcome = latestOutcome(state)
      // What an earlier attempt came to is no answer to this one.
      return outcome === undefined || state.attempt <= after ? Effect.fail(busy) : tell(outcome)
    }
    const payment = group.payment.state
    if (
      !awaitsAction(group) ||
      payment._tag === "Absent" ||
      payment.intent === undefined ||
      payment.actionUntil === undefined
    ) {
      return Effect.succeed(undefined)
    }
    const until = payment.actionUntil
    return gateway.retrieve(Redacted.make(payment.intent)).pipe(
      Effect.map((intent) =>
        intent._tag === "RequiresAction"
          ? Confirmation.make({ _tag: "RequiresAction", clientSecret: Redacted.value(intent.clientSecret), until })
          : undefined
      ),
      Effect.orElseSucceed(() => undefined)
    )
  }

  const pending = (group: Group): Confirmation =>
    group.order.state._tag === "Placed" ? { _tag: "Pending", orderId: OrderId.make(group.id) } : { _tag: "Pending" }

  /** Waits for the end of a confirmation, or for what the customer has to do. */
  const awaitEnd = (group: Group, after: number): Effect.Effect<Confirmation, ConfirmRefusal | IdempotencyConflict> =>
    Effect.gen(function* () {
      while (true) {
        const begun = starting.get(group.id)
        if (begun !== undefined) yield* Deferred.await(begun)
        const driven = FiberMap.getUnsafe(running, group.id)
        if (Option.isSome(driven)) yield* Fiber.await(driven.value)
        const sessionVersion = group.session.version
        const paymentVersion = group.payment.version
        const told = yield* standing(group, after)
        if (told !== undefined) return told
        if (!placement.isLocal(group.session.bucket)) return yield* outdated
        yield* Effect.raceFirst(
          journal.changed(CheckoutSession.type, group.id, sessionVersion),
          journal.changed(Payment.type, group.id, paymentVersion)
        )
        // Woken for nothing, or not the owner any more: whoever asks again is answered by the node that is.
        const moved = group.session.version !== sessionVersion || group.payment.version !== paymentVersion
        if (!moved || !placement.isLocal(group.session.bucket)) return yield* outdated
      }
    })

  /**
   * Who joined another key's confirmation has heard of its rejection: from now on that is the answer to the joining key too, as an attempt
   * which ended before it began. Otherwise the same key would begin a new one next time.
   */
  const remember = (
    group: Group,
    { after, confirmKey, expectedTotal, told }: Joined
  ): Effect.Effect<void, Unavailable> =>
    Effect.suspend(() => {
      const { state } = group.session
      if (state._tag === "Absent" || attemptWith(state, confirmKey) !== undefined) return Effect.void
      const outcome = latestOutcome(state)
      if (outcome?._tag !== "Rejected" || outcome.rejection._tag !== told) return Effect.void
      if (state.attempt <= after || !mayBegin(state.status)) return Effect.void
      const attempt: Attempt = {
        number: state.attempt + 1,
        confirmKey,
        ...(expectedTotal === undefined ? {} : { expectedTotal })
      }
      return steps.refuse(group, attempt, outcome.rejection)
    }).pipe(
      // Others who joined are remembered one after another.
      Effect.retry({ times: 50, while: ({ _tag }) => _tag === "StepConflict" || _tag === "IdempotencyConflict" }),
      Effect.mapError(() => busy)
    )

  const confirm = (
    id: string,
    { by, confirmKey, expectedTotal }: { by: CustomerId; confirmKey: IdempotencyKey; expectedTotal?: Money }
  ): Effect.Effect<Confirmation, ConfirmRefusal | IdempotencyConflict> =>
    withGroup(
      id,
      Effect.fnUntraced(function* (group) {
        const session = yield* owned(group, by)
        const known = attemptWith(session, confirmKey)
        if (known !== undefined && !sameTotal(known.expectedTotal, expectedTotal)) {
          return yield* new IdempotencyConflict({ key: confirmKey })
        }
        if (known?.outcome !== undefined) return yield* tell(known.outcome)
        if (mayBegin(session.status)) {
          if (!starting.has(id)) {
            const begun = Deferred.makeUnsafe<void, ConfirmRefusal | IdempotencyConflict>()
            starting.set(id, begun)
            const rate = rates(by).Take({
              operation: "confirm",
              limit: limits.confirmRate.limit,
              windowMs: Duration.toMillis(limits.confirmRate.window)
            })
            yield* rate.pipe(
              Effect.mapError((error) =>
                error._tag === "LimitReached" ? new RateLimited({ retryAfterMs: error.retryAfterMs }) : error
              ),
              // Holds its actors itself: who asked may leave, and nobody is to get others meanwhile.
              Effect.andThen(withGroup(id, (own) => start(own, session, confirmKey, expectedTotal))),
              Effect.retry({ times: 3, while: hasCartMoved }),
              // A conflict of the attempt's own keys: another node was faster.
              Effect.catchTag(["StepConflict", "IdempotencyConflict"], () => Effect.fail(outdated)),
              // Refused without a write, hence without its guard: by what may be long over.
              Effect.tapError(() => requireCurrent(group)),
              Effect.tap(launch(id, false)),
              Effect.onExit((exit) =>
                Effect.sync(() => {
                  starting.delete(id)
                  Deferred.doneUnsafe(begun, Exit.asVoid(exit))
                })
              ),
              Effect.ignore,
              Effect.forkIn(scope)
            )
          }
        } else if (session.status === "confirming") {
          // After the second factor the buyer confirms once more: that is when to ask what came of it.
          const driven = yield* launch(id, true)
          if (awaitsAction(group)) yield* Effect.ignore(Fiber.join(driven))
        } else if (
          latestOutcome(session) === undefined ||
          session.status === "abandoned" ||
          session.status === "expired"
        ) {
          return yield* new CheckoutClosed({ status: session.status })
        }
        const after = mayBegin(session.status) ? session.attempt : session.attempt - 1
        return yield* awaitEnd(group, after).pipe(
          withTimeLimit(limits.syncWait, () => Effect.succeed(pending(group))),
          Effect.tapError(({ _tag }) => remember(group, { confirmKey, expectedTotal, after, told: _tag }))
        )
      })
    )

  placement.serve(Checkout, {
    Confirm: confirm,
    ConfirmStatus: (id, { by }: By) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const session = yield* owned(group, by)
          // Also when the latest attempt was given up before it had begun: nothing is under way.
          const idle = session.status !== "confirming" && latestOutcome(session) === undefined
          if (idle && !starting.has(id)) {
            return yield* new IllegalTransition({ status: session.status, command: "ConfirmStatus" })
          }
          if (session.status === "confirming" && awaitsAction(group) && (yield* mayAsk(id, group))) {
            yield* Effect.ignore(drive(id))
          }
          return (yield* standing(group)) ?? pending(group)
        })
      ),
    PreviewTotals: (id, { by }: By) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const session = yield* owned(group, by)
          const cart = yield* carts(session.cartId)
            .GetCart({ by })
            .pipe(Effect.mapError((error) => (error._tag === "AccessDenied" ? error : busy)))
          const { lines, totals } = yield* terms.compute(session, cart.lines, { final: false })
          return { currency: session.currency, lines, totals }
        })
      ),
    ValidateInventory: (id, { by }: By) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const session = yield* owned(group, by)
          const cart = yield* carts(session.cartId)
            .GetCart({ by })
            .pipe(Effect.mapError((error) => (error._tag === "AccessDenied" ? error : busy)))
          const levels = yield* terms.stock(session, cart.lines)
          return levels.map(({ have, line: { quantity, sku } }) =>
            have >= quantity
              ? { _tag: "Available" as const, sku }
              : { _tag: "Insufficient" as const, sku, wanted: quantity, have }
          )
        })
      ),
    Steps: (id, { by }: Partial<By>) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          if (by !== undefined) yield* owned(group, by)
          const rows = yield* store
            .query(
              "select attempt, step, outcome, started_at, ended_at from checkout.steps where checkout_id = $1 order by attempt, started_at, ended_at limit 500",
              [id]
            )
            .pipe(Effect.mapError(() => busy))
          return rows.map((row) => ({
            attempt: Number(row["attempt"]),
            step: String(row["step"]),
            outcome: String(row["outcome"]),
            startedAt: instantOf(row["started_at"]),
            endedAt: instantOf(row["ended_at"])
          }))
        })
      )
  })

  return CheckoutFlow.of({ drive })
})

/** The buyer, in another window: the attempt is for what the cart is now. */
const hasCartMoved = (error: { readonly _tag: string; readonly refusal?: unknown }): boolean =>
  error._tag === "StepConflict" && Predicate.isTagged(error.refusal, "CartMoved")

const sameTotal = (one: Money | undefined, other: Money | undefined): boolean =>
  one?.amount === other?.amount && one?.currency === other?.currency

export const layer = Layer.effect(CheckoutFlow, make)
