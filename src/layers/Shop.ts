/** The shop on one node: runtime, actors and processes joined. What it stands on (database, cluster, provider, catalog) is given to it. */
import { Duration, Effect, Layer, type Redacted } from "effect"
import type { Sharding } from "effect/cluster"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Catalog } from "../catalog/Catalog.ts"
import type { Promotions } from "../catalog/Promotions.ts"
import type { ShippingQuotes } from "../catalog/ShippingQuotes.ts"
import { Alert } from "../entities/alert/Alert.ts"
import * as AlertActor from "../entities/alert/AlertActor.ts"
import type { AlertLimits } from "../entities/alert/AlertDecider.ts"
import * as CartActor from "../entities/cart/CartActor.ts"
import * as CheckoutSessionActor from "../entities/checkoutSession/CheckoutSessionActor.ts"
import * as FailedCompensationActor from "../entities/failedCompensation/FailedCompensationActor.ts"
import type { CompensationLimits } from "../entities/failedCompensation/FailedCompensationDecider.ts"
import * as OrderActor from "../entities/order/OrderActor.ts"
import type { OrderLimits } from "../entities/order/OrderDecider.ts"
import * as PaymentActor from "../entities/payment/PaymentActor.ts"
import type { PaymentLimits } from "../entities/payment/PaymentDecider.ts"
import { RateLimiter } from "../entities/rateLimiter/RateLimiter.ts"
import * as ProviderEventActor from "../entities/providerEvent/ProviderEventActor.ts"
import type { ProviderEventLimits } from "../entities/providerEvent/ProviderEventDecider.ts"
import * as RateLimiterActor from "../entities/rateLimiter/RateLimiterActor.ts"
import * as ReservationActor from "../entities/reservation/ReservationActor.ts"
import type { ReservationLimits } from "../entities/reservation/ReservationDecider.ts"
import * as SellerAccountActor from "../entities/sellerAccount/SellerAccountActor.ts"
import { stockCounters } from "../entities/reservation/StockCounters.ts"
import { AlertSinks } from "../gateways/AlertSinks.ts"
import type { PaymentGateway } from "../gateways/PaymentGateway.ts"
import type { PayoutGateway } from "../gateways/PayoutGateway.ts"
import * as Reconciliation from "../jobs/Reconciliation.ts"
import * as Retention from "../jobs/Retention.ts"
import * as UnsentAlerts from "../jobs/UnsentAlerts.ts"
import { Actors, layer as actorsLayer } from "../runtime/Actors.ts"
import { type Journal, layer as journalLayer } from "../runtime/Journal.ts"
import { layer as noticesLayer, type Notices } from "../runtime/Notices.ts"
import { layer as placementLayer, Placement } from "../runtime/Placement.ts"
import { layer as storeLayer } from "../runtime/PostgresStore.ts"
import { parkedAlertOf, parkedIdOf } from "../runtime/ParkedNotices.ts"
import { type NoticeRow, Store } from "../runtime/Store.ts"
import { layer as timersLayer, type Timers } from "../runtime/Timers.ts"
import { layer as workflowEngineLayer, type Workflows } from "../runtime/WorkflowEngine.ts"
import { WorkflowSearch } from "../runtime/WorkflowSearch.ts"
import * as AlertDelivery from "../workflows/alert/AlertDelivery.ts"
import * as CaptureFlow from "../workflows/capture/CaptureFlow.ts"
import * as DeferredCapture from "../workflows/capture/DeferredCapture.ts"
import { CheckoutActors } from "../workflows/checkout/CheckoutActors.ts"
import * as CheckoutContext from "../workflows/checkout/CheckoutContext.ts"
import * as CheckoutFlow from "../workflows/checkout/CheckoutFlow.ts"
import type { CheckoutLimits } from "../workflows/checkout/CheckoutLimits.ts"
import * as CheckoutTerms from "../workflows/checkout/CheckoutTerms.ts"
import * as CompensationFlow from "../workflows/compensation/CompensationFlow.ts"
import * as RetryFlow from "../workflows/compensation/RetryFlow.ts"
import * as OfflineFlow from "../workflows/offline/OfflineFlow.ts"
import type { Check } from "../workflows/reconciliation/Check.ts"
import * as ConsistencyChecks from "../workflows/reconciliation/ConsistencyChecks.ts"
import * as MoneyReviewFlow from "../workflows/reconciliation/MoneyReviewFlow.ts"
import * as ProviderChecks from "../workflows/reconciliation/ProviderChecks.ts"
import type { ProviderCheckLimits } from "../workflows/reconciliation/ProviderChecks.ts"
import { ReconciliationRequests } from "../workflows/reconciliation/ReconciliationRequests.ts"
import * as StockCheck from "../workflows/reconciliation/StockCheck.ts"
import * as PayoutFlow from "../workflows/payout/PayoutFlow.ts"
import * as PayoutSteps from "../workflows/payout/PayoutSteps.ts"
import * as RefundFlow from "../workflows/refund/RefundFlow.ts"
import * as ProviderEventFlow from "../workflows/webhooks/ProviderEventFlow.ts"

/** Every number of the shop, with its place in REQUIREMENTS H where it has one. */
export interface ShopLimits {
  readonly runtime: {
    readonly buckets: number
    readonly bucketPollInterval: Duration.Duration
    readonly callTimeout: Duration.Duration
    readonly batchMax: number
    readonly queueMax: number
    readonly residentMax: number
    readonly retryFor: Duration.Duration
    readonly flushTimeout: Duration.Duration
    readonly idleInTransaction: Duration.Duration
    readonly timerSweepInterval: Duration.Duration
    readonly timerConcurrency: number
    readonly noticeAttemptsMax: number
    readonly noticeBackoff: Duration.Duration
    readonly noticeBackoffMax: Duration.Duration
    readonly acknowledgeWithin: Duration.Duration
    readonly noticeSweepInterval: Duration.Duration
  }
  readonly retention: {
    /** From the end of an actor's process on. */
    readonly keysKeptFor: Duration.Duration
    readonly executionsKeptFor: Duration.Duration
    readonly interval: Duration.Duration
    readonly page: number
  }
  readonly reconciliation: Reconciliation.ReconciliationLimits & ProviderCheckLimits
  readonly cart: CartActor.CartLimits
  readonly session: CheckoutSessionActor.CheckoutSessionLimits
  readonly reservation: ReservationLimits
  readonly payment: PaymentLimits
  readonly order: OrderLimits
  readonly checkout: CheckoutLimits
  readonly alert: AlertLimits
  readonly compensation: CompensationLimits
  readonly payout: PayoutSteps.PayoutLimits
  readonly webhook: ProviderEventLimits & ProviderEventFlow.WebhookLimits
}

export const defaultLimits: ShopLimits = {
  runtime: {
    buckets: 128,
    bucketPollInterval: Duration.millis(100),
    callTimeout: Duration.seconds(10),
    batchMax: 256,
    queueMax: 10_000,
    residentMax: 20_000,
    retryFor: Duration.seconds(10),
    flushTimeout: Duration.seconds(5),
    idleInTransaction: Duration.seconds(4),
    timerSweepInterval: Duration.seconds(1),
    timerConcurrency: 10,
    noticeAttemptsMax: 10,
    noticeBackoff: Duration.seconds(1),
    noticeBackoffMax: Duration.minutes(5),
    acknowledgeWithin: Duration.millis(250),
    noticeSweepInterval: Duration.seconds(5)
  },
  retention: {
    keysKeptFor: Duration.days(30),
    executionsKeptFor: Duration.days(30),
    interval: Duration.hours(1),
    page: 500
  },
  reconciliation: {
    schedules: [
      { group: "payments", every: Duration.minutes(5) },
      { group: "stock", every: Duration.hours(1) },
      { group: "consistency", every: Duration.hours(1) },
      { group: "provider", dailyAt: Duration.hours(2) }
    ],
    window: Duration.days(14),
    grace: Duration.minutes(15),
    stuckAfter: Duration.minutes(5),
    page: 500,
    pollInterval: Duration.seconds(2),
    keepFor: Duration.days(90)
  },
  cart: { idleFor: Duration.days(30), lockCheckAfter: Duration.minutes(2) },
  session: { idleFor: Duration.hours(24), watchAfter: Duration.seconds(40) },
  reservation: {
    reserveFor: Duration.minutes(30),
    offline: { cash_on_delivery: Duration.hours(24), bank_transfer: Duration.hours(24) },
    captureWithin: Duration.minutes(30)
  },
  payment: {
    holdFor: Duration.days(7),
    paymentWindow: Duration.minutes(15),
    resolve: { base: Duration.minutes(1), cap: Duration.minutes(30) },
    refund: {
      retriesMax: 3,
      backoff: { base: Duration.minutes(1), cap: Duration.minutes(30) },
      watchAfter: Duration.seconds(40)
    },
    captureLead: Duration.hours(24)
  },
  order: {
    expireAfter: Duration.minutes(30),
    offline: { cash_on_delivery: Duration.hours(24), bank_transfer: Duration.hours(24) },
    confirmCashAfter: Duration.minutes(1)
  },
  checkout: {
    paymentTimeout: Duration.seconds(15),
    syncWait: Duration.seconds(25),
    captureMode: "immediate",
    feeBasisPoints: 1000,
    holdFor: Duration.days(7),
    captureRetriesMax: 3,
    captureBackoff: { base: Duration.seconds(5), cap: Duration.seconds(60) },
    compensationAttempts: 3,
    compensationBackoff: Duration.millis(100),
    confirmRate: { limit: 5, window: Duration.minutes(10) },
    resolveAfter: Duration.minutes(1),
    resolveLooksMax: 8,
    offlineMethods: ["cash_on_delivery", "bank_transfer"],
    actionPollInterval: Duration.seconds(3)
  },
  alert: {
    dedupeFor: Duration.minutes(15),
    deliveryBackoff: { base: Duration.seconds(5), cap: Duration.minutes(5) },
    keepFor: Duration.days(90)
  },
  compensation: {
    maxRetries: 3,
    backoff: { base: Duration.minutes(1), cap: Duration.minutes(30) },
    keepFor: Duration.days(90)
  },
  payout: {
    roundsMax: 60,
    backoff: { base: Duration.minutes(1), cap: Duration.hours(12) },
    alertAfter: 5
  },
  webhook: {
    attemptsMax: 10,
    backoff: { base: Duration.seconds(1), cap: Duration.minutes(5) },
    watchAfter: Duration.seconds(30),
    unmatchedMax: 10_000
  }
}

/** REQ-GEN-09, ALR-05. */
const parkedAlert = (notice: NoticeRow, error: string) => ({
  receiver: { type: Alert.type, id: parkedAlertOf(parkedIdOf(notice)) },
  message: {
    _tag: "Raise",
    kind: "parked_notice",
    severity: "critical",
    summary: `A notice from ${notice.sourceType} to ${notice.receiverType} could not be delivered and is set aside`,
    details: { error, recorded: true }
  }
})

export interface ShopOptions {
  /** For the journal's own connection; the pool is the `SqlClient`. */
  readonly databaseUrl: Redacted.Redacted<string>
  readonly limits: ShopLimits
  /** Where nodes share the work: the longest pause of this process after which it still has its part. */
  readonly pauseMax?: Duration.Duration
  /** Put around the journal's store: tests let it fail, or their process die, at a chosen write. */
  readonly aroundStore?: (store: Store["Service"]) => Store["Service"]
}

export const layer = (
  options: ShopOptions
): Layer.Layer<
  | Actors
  | Journal
  | Notices
  | Placement
  | ReconciliationRequests
  | Store
  | Timers
  | CheckoutFlow.CheckoutFlow
  | Workflows
  | WorkflowSearch,
  never,
  Catalog | PaymentGateway | PayoutGateway | Promotions | Sharding.Sharding | ShippingQuotes | SqlClient
> => {
  const { limits } = options
  const { runtime } = limits
  const plainStore = storeLayer({
    url: options.databaseUrl,
    counters: stockCounters,
    flushTimeout: runtime.flushTimeout,
    idleInTransaction: runtime.idleInTransaction,
    ...(options.pauseMax === undefined ? {} : { pauseMax: options.pauseMax })
  })
  const { aroundStore } = options
  const store =
    aroundStore === undefined
      ? plainStore
      : Layer.effect(Store, Effect.map(Store, aroundStore)).pipe(Layer.provide(plainStore))
  const journal = journalLayer({
    counters: stockCounters,
    batchMax: runtime.batchMax,
    queueMax: runtime.queueMax,
    residentMax: runtime.residentMax,
    retryFor: runtime.retryFor
  }).pipe(Layer.provideMerge(store))
  const placement = placementLayer({
    buckets: runtime.buckets,
    pollInterval: runtime.bucketPollInterval,
    callTimeout: runtime.callTimeout
  })
  const timers = timersLayer({
    sweepInterval: runtime.timerSweepInterval,
    concurrency: runtime.timerConcurrency,
    page: 1000
  }).pipe(Layer.provideMerge(Layer.merge(journal, placement)))
  const notices = noticesLayer({
    attemptsMax: runtime.noticeAttemptsMax,
    backoff: runtime.noticeBackoff,
    backoffMax: runtime.noticeBackoffMax,
    acknowledgeWithin: runtime.acknowledgeWithin,
    sweepInterval: runtime.noticeSweepInterval,
    onParked: parkedAlert
  })
  const engine = WorkflowSearch.layer.pipe(Layer.provideMerge(workflowEngineLayer))
  const runtimeLayer = Layer.mergeAll(actorsLayer, notices, engine).pipe(Layer.provideMerge(timers))
  const definitions = Layer.sync(CheckoutActors, () => ({
    cart: CartActor.make(limits.cart),
    session: CheckoutSessionActor.make(limits.session),
    reservation: ReservationActor.make(limits.reservation),
    payment: PaymentActor.make(limits.payment),
    order: OrderActor.make(limits.order),
    failed: FailedCompensationActor.make(limits.compensation)
  }))
  const hosted = Layer.effectDiscard(
    Effect.gen(function* () {
      const actors = yield* Actors
      const placed = yield* Placement
      const { cart, order, payment, reservation, session } = yield* CheckoutActors
      const sinks = yield* AlertSinks
      const alert = AlertActor.make(
        limits.alert,
        sinks.map(({ name }) => name)
      )
      actors.host(AlertActor.hosting(alert))
      yield* AlertDelivery.serve(alert, sinks)
      actors.host(CartActor.hosting(cart))
      actors.host(CheckoutSessionActor.hosting(session))
      actors.host(ReservationActor.hosting(reservation))
      actors.host(PaymentActor.hosting(payment))
      actors.host(OrderActor.hosting(order))
      actors.host(SellerAccountActor.hosting)
      placed.serve(RateLimiter, RateLimiterActor.handlers())
    })
  )
  const providerEvent = ProviderEventActor.make(limits.webhook)
  const retention = Layer.unwrap(
    Effect.map(CheckoutActors, (actors) =>
      Retention.layer({
        ...limits.retention,
        actors: rememberedOf(actors, limits.retention),
        removed: removedOf(providerEvent, limits.retention)
      })
    )
  )
  const reconciliation = Layer.unwrap(
    Effect.map(Effect.all([tableChecks, ProviderChecks.make(limits.reconciliation)]), (groups) => {
      const checks = groups.flat()
      return Layer.merge(
        Reconciliation.layer({ ...limits.reconciliation, checks }),
        ReconciliationRequests.layer(checks.map(({ name }) => name))
      )
    })
  )
  const checkout = Layer.merge(ProviderEventFlow.layer(providerEvent, limits.webhook), MoneyReviewFlow.layer).pipe(
    Layer.provideMerge(CheckoutFlow.layer)
  )
  const processes = Layer.mergeAll(
    checkout,
    CaptureFlow.layer,
    CompensationFlow.layer,
    DeferredCapture.layer,
    OfflineFlow.layer,
    PayoutFlow.layer,
    RefundFlow.layer,
    RetryFlow.layer,
    hosted,
    reconciliation,
    retention,
    UnsentAlerts.layer
  ).pipe(
    Layer.provide([CheckoutContext.layer(limits.checkout), PayoutSteps.layer(limits.payout), CheckoutTerms.layer]),
    Layer.provide(definitions)
  )
  return processes.pipe(Layer.provideMerge(runtimeLayer))
}

/** What reconciliation compares in the database alone, in this order. */
export const tableChecks: Effect.Effect<ReadonlyArray<Check>, never, SqlClient> = Effect.gen(function* () {
  return [yield* StockCheck.make, ...(yield* ConsistencyChecks.make)]
})

/**
 * What may be forgotten of whom. The histories of orders, and of the payment and the reservation which belong to one, are its record and
 * stay with it; those of a checkout that came to no order go with the checkout.
 */
export const rememberedOf = (
  { cart, order, payment, reservation, session }: CheckoutActors["Service"],
  { keysKeptFor }: Pick<ShopLimits["retention"], "keysKeptFor">
): ReadonlyArray<Retention.Kept> => [
  { definition: cart, keptFor: keysKeptFor },
  { definition: session, along: [reservation, payment], unless: order, keptFor: keysKeptFor }
]

/** What a payment provider told, once it is settled: no signature is accepted that is so old. What waits for an operator stays. */
export const removedOf = (
  providerEvent: ProviderEventActor.ProviderEventDefinition,
  { keysKeptFor }: Pick<ShopLimits["retention"], "keysKeptFor">
): ReadonlyArray<Retention.Removed> => [
  { definition: providerEvent, since: "settled_at", except: "status = 'parked'", keptFor: keysKeptFor }
]
