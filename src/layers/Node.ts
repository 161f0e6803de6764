/** Everything a node consists of: the one place where implementations are picked and joined. */
import { Duration, Effect, Layer, Result, Schedule } from "effect"
import type * as Runners from "effect/cluster/Runners"
import type { HttpServer } from "effect/http/HttpServer"
import type { ServeError } from "effect/http/HttpServerError"
import type { MigrationError } from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Catalog, CatalogLimits } from "../catalog/Catalog.ts"
import { Promotions } from "../catalog/Promotions.ts"
import { ShippingQuotes } from "../catalog/ShippingQuotes.ts"
import * as Demo from "../demo/Demo.ts"
import * as Environment from "../demo/Environment.ts"
import { type AlertSink, AlertSinks, logSink } from "../gateways/AlertSinks.ts"
import * as PagerDutySink from "../gateways/PagerDutySink.ts"
import * as StripeGateway from "../gateways/StripeGateway.ts"
import * as WebhookSink from "../gateways/WebhookSink.ts"
import { PaymentReferences } from "../projections/PaymentReferences.ts"
import { authenticationLayer, AuthTokens, type AuthTokensOptions, type AuthTokensRefused } from "../rpc/AuthTokens.ts"
import { Draining } from "../rpc/Draining.ts"
import { Readiness } from "../rpc/Health.ts"
import * as Server from "../rpc/Server.ts"
import * as WebhookHandlers from "../rpc/webhooks/WebhookHandlers.ts"
import { Journal } from "../runtime/Journal.ts"
import { Placement } from "../runtime/Placement.ts"
import type { Store } from "../runtime/Store.ts"
import * as Cluster from "./Cluster.ts"
import { gatewayLimitsOf, limitsOf, pauseMax, serverLimitsOf, webhooksOf } from "./Config.ts"
import * as Handlers from "./Handlers.ts"
import { Roster } from "./Roster.ts"
import type { Values } from "./Settings.ts"
import * as Shop from "./Shop.ts"
import * as Sql from "./Sql.ts"
import * as Watchdog from "./Watchdog.ts"
import * as Webhooks from "./Webhooks.ts"

export interface NodeOptions {
  readonly values: Values
  /** Whether the shop is made up: then its catalog is filled once, and no other database is touched. */
  readonly demo: boolean
}

/** Why a node does not start; each says it in a sentence. */
export type NodeRefused =
  | AuthTokensRefused
  | Cluster.CannotJoin
  | Environment.WrongEnvironment
  | MigrationError
  | ServeError
  | Server.ServerRefused
  | Sql.DatabaseUnusable
  | SqlError

/** A running node. Ends in order: refuses, finishes what is under way, hands its work over, lets go of the database. REQ-OPS-05. */
export const layer = (
  options: NodeOptions
): Layer.Layer<
  AuthTokens | Draining | HttpServer | Placement | Readiness | Runners.Runners | SqlClient,
  NodeRefused
> => {
  const { values } = options
  const database = Layer.effectDiscard(prepare(options)).pipe(Layer.provideMerge(Sql.layer(values)))
  const cluster = Cluster.layer(values).pipe(Layer.provideMerge(database))
  const surroundings = Layer.mergeAll(
    Catalog.layer.pipe(Layer.provide(catalogLimits(values))),
    Promotions.layerNone,
    ShippingQuotes.layerFlat(values.SHIPPING_RATES, values.SHIPPING_TIMEOUT),
    StripeGateway.layer({
      secretKey: values.STRIPE_SECRET_KEY,
      protocol: values.STRIPE_PROTOCOL,
      limits: gatewayLimitsOf(values),
      connectionsMax: values.STRIPE_CONNECTIONS_MAX,
      ...(values.STRIPE_HOST === undefined ? {} : { host: values.STRIPE_HOST }),
      ...(values.STRIPE_PORT === undefined ? {} : { port: values.STRIPE_PORT })
    })
  ).pipe(Layer.provideMerge(cluster))
  const shop = Shop.layer({
    databaseUrl: values.DATABASE_URL,
    limits: limitsOf(values),
    pauseMax: pauseMax(values)
  }).pipe(Layer.provide(Layer.succeed(AlertSinks, sinksOf(values))), Layer.provideMerge(surroundings))
  const identity = authenticationLayer.pipe(Layer.provideMerge(AuthTokens.layer(authOptions(values))))
  const webhooks = WebhookHandlers.layer.pipe(
    Layer.provide([PaymentReferences.layer, Webhooks.layer(webhooksOf(values))])
  )
  const handlers = Layer.merge(Handlers.layer, webhooks).pipe(
    Layer.provideMerge(Layer.mergeAll(identity, readiness(values), Draining.layer, handedOver(values))),
    Layer.provideMerge(shop)
  )
  const edge = Layer.unwrap(
    Effect.map(Journal, ({ waitingFor }) =>
      Server.layer({
        host: values.HTTP_HOST,
        port: values.HTTP_PORT,
        ...(values.HEALTH_PORT === 0 ? {} : { healthPort: values.HEALTH_PORT }),
        corsOrigins: values.CORS_ORIGINS ?? [],
        dev: options.demo,
        limits: { ...serverLimitsOf(values), waitingFor }
      })
    )
  ).pipe(Layer.provideMerge(handlers))
  const watchdog = Watchdog.layer({ exitAfter: values.STALL_EXIT_AFTER })
  return Layer.mergeAll(drained(values), watchdog).pipe(Layer.provideMerge(edge))
}

/** Migrates or waits for who does; then makes sure whose database this is. */
const prepare = Effect.fn("Node.prepare")(function* ({ demo, values }: NodeOptions) {
  if (values.MIGRATE_ON_START) yield* Sql.migrate(values)
  else yield* Sql.awaitMigrations(values)
  yield* Environment.decide(demo ? "demo" : "production")
  if (demo) yield* Demo.seed
})

/** The log always; a webhook and PagerDuty where they are set up. */
const sinksOf = (values: Values): ReadonlyArray<AlertSink> => {
  const { ALERT_PAGERDUTY_ROUTING_KEY: routingKey, ALERT_SINK_TIMEOUT: timeout, ALERT_WEBHOOK_SECRET: secret } = values
  const { ALERT_WEBHOOK_URL: url } = values
  return [
    logSink,
    ...(url === undefined || secret === undefined ? [] : [WebhookSink.make({ url, secret, timeout })]),
    ...(routingKey === undefined
      ? []
      : [PagerDutySink.make({ routingKey, url: values.ALERT_PAGERDUTY_URL, source: values.CLUSTER_NAME, timeout })])
  ]
}

const catalogLimits = (values: Values) =>
  Layer.effect(
    CatalogLimits,
    Effect.map(CatalogLimits, ({ currenciesFor, retryAfter }) => ({
      timeLimit: values.CATALOG_TIMEOUT,
      currenciesFor,
      retryAfter
    }))
  )

const authOptions = (values: Values): AuthTokensOptions => ({
  issuer: values.AUTH_ISSUER,
  audience: values.AUTH_AUDIENCE,
  keys:
    values.AUTH_SECRET === undefined
      ? { _tag: "Jwks", url: values.AUTH_JWKS_URL ?? "" }
      : { _tag: "Secret", secret: values.AUTH_SECRET }
})

/** A node whose steps take longer is better left alone by new callers. */
const gettingOn = Duration.seconds(3)

/** Ready: the database answers, no migration is pending, this node has a share of the work, and it gets on. REQ-OPS-01. */
const readiness = (values: Values) =>
  Layer.effect(
    Readiness,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const placement = yield* Placement
      const services = yield* Effect.context<Journal | SqlClient | Store>()
      // What was migrated stays migrated.
      let current = false
      const runners = sql<{ count: bigint }>`select count(*) from cluster_runners where healthy`
      const report = Effect.gen(function* () {
        const alive = yield* Effect.result(runners)
        const database = Result.isSuccess(alive)
        if (database && !current) {
          current = yield* Sql.pending.pipe(
            Effect.map((names) => names.length === 0),
            Effect.orElseSucceed(() => false)
          )
        }
        // Of more nodes than shards, some have none, and are none the worse for it.
        const others = database ? Number(alive.success[0]?.count ?? 0) : 0
        const shards = (yield* placement.owned).length > 0 || others > values.CLUSTER_SHARDS
        const progress = Duration.isLessThan(yield* Watchdog.silentFor, gettingOn)
        const checks = { database, migrations: current, shards, progress }
        return { ready: database && current && shards && progress, checks }
      }).pipe(Effect.provide(services))
      return Readiness.of({ report })
    })
  )

/** Built last, so that it ends first: while it does, everything still works. */
const drained = (values: Values): Layer.Layer<never, never, Draining> =>
  Layer.effectDiscard(
    Effect.acquireRelease(Draining, (draining) => Effect.andThen(draining.begin, Effect.sleep(values.DRAIN_DELAY)))
  )

/** Ends once nobody is answered any more, and while actors still are at work: no order waits longer than its shard takes to move. */
const handedOver = (values: Values): Layer.Layer<never, never, Roster> =>
  Layer.effectDiscard(
    Effect.acquireRelease(Roster, ({ leave }) => leave(Duration.sum(values.SHARD_HANDOVER_WITHIN, Duration.seconds(1))))
  )

/** Waits until the node has its share of the work; gives up quietly. */
export const awaitReady = Effect.fn("Node.awaitReady")(function* () {
  const { report } = yield* Readiness
  yield* report.pipe(
    Effect.repeat({
      until: ({ ready }) => ready,
      schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))
    })
  )
})
