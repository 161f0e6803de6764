import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Metric, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId } from "../../src/domain/Ids.ts"
import { Alert, type AlertSeverity, type AlertView } from "../../src/entities/alert/Alert.ts"
import { type AlertSink, AlertSinks, logSink } from "../../src/gateways/AlertSinks.ts"
import * as PagerDutySink from "../../src/gateways/PagerDutySink.ts"
import * as WebhookSink from "../../src/gateways/WebhookSink.ts"
import * as UnsentAlerts from "../../src/jobs/UnsentAlerts.ts"
import type { ShopLimits } from "../../src/layers/Shop.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { AlertList } from "../../src/projections/AlertList.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { pagerDuty, routingKey, webhook, webhookSecret } from "../fixtures/AlertReceivers.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

const limits: ShopLimits = {
  ...Shop.quickLimits,
  alert: {
    ...Shop.quickLimits.alert,
    deliveryBackoff: { base: Duration.millis(100), cap: Duration.millis(800) }
  }
}
const timeout = Duration.millis(300)

/** A database, a pager and a web hook, and shops which tell them. */
const world = Effect.gen(function* () {
  const pager = yield* pagerDuty
  const hook = yield* webhook
  const url = yield* freshDatabase
  yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
  const both: ReadonlyArray<AlertSink> = [
    PagerDutySink.make({ routingKey: Redacted.make(routingKey), url: pager.url, source: "test", timeout }),
    WebhookSink.make({ url: Redacted.make(hook.url), secret: Redacted.make(webhookSecret), timeout })
  ]
  const shop = (sinks: ReadonlyArray<AlertSink> = [logSink, ...both]) =>
    AlertList.layer.pipe(
      Layer.provideMerge(Shop.shopOn(url, limits)),
      Layer.provide(Layer.succeed(AlertSinks, sinks)),
      Layer.provideMerge(Shop.gateway(limits)),
      Layer.orDie
    )
  return { pager, hook, shop }
})

const alertOf = (id: string) => Effect.map(Placement, (placement) => placement.client(Alert)(id))
const raise = (id: string, severity: AlertSeverity = "critical") =>
  Effect.flatMap(alertOf(id), (alert) =>
    alert.Raise({
      key: Shop.key(),
      kind: "stock_drift",
      severity,
      summary: "Two more are reserved than there are reservations",
      details: { amount: 4189n, error: "tea at berlin" }
    })
  )
const until = (id: string, check: (view: AlertView) => boolean) =>
  Effect.flatMap(alertOf(id), (alert) => eventually(alert.GetAlert(), check))
/** MET-21. */
const counted = Effect.gen(function* () {
  yield* UnsentAlerts.measure
  const gauges = (yield* Metric.snapshot).filter(({ id }) => id === "alerts_unsent")
  return Object.fromEntries(
    gauges.map(({ attributes, state }) => [attributes?.["severity"], (state as { value: number }).value])
  )
})
const sent = (id: string) => until(id, ({ sentAt }) => sentAt !== undefined)

describe("given a pager and a web hook", () => {
  it.live(
    "when an alert is raised 20 times, then there is one page; both hear who looks after it, and its end (T-ALR-01)",
    () =>
      Effect.gen(function* () {
        const { hook, pager, shop } = yield* world
        yield* Effect.gen(function* () {
          const id = Shop.fresh("stock_drift:tea")
          for (let time = 0; time < 20; time++) yield* raise(id)
          const view = yield* sent(id)
          assert.deepInclude(view, { status: "open" })
          const alert = yield* alertOf(id)
          assert.strictEqual((yield* alert.GetAlert()).raises, 20)
          yield* alert.Acknowledge({ key: Shop.key(), by: CustomerId.make("olga") })
          yield* eventually(
            Effect.sync(() => pager.incidents.get(id)![0]!.status),
            (status) => status === "acknowledged"
          )
          yield* alert.Clear({ key: Shop.key(), by: CustomerId.make("olga"), reason: "Counted again" })
          yield* eventually(
            Effect.sync(() => [pager.incidents.get(id)![0]!.status, hook.events.size]),
            ([status, events]) => status === "resolved" && events === 3
          )
          assert.deepStrictEqual(pager.incidents.get(id), [{ status: "resolved", severity: "critical", triggers: 1 }])
          assert.deepStrictEqual([...hook.events.keys()], [`${id}:1:trigger`, `${id}:1:acknowledge`, `${id}:1:resolve`])
          const [told] = hook.events.values()
          assert.deepInclude(told as object, { id, action: "trigger", severity: "critical", kind: "stock_drift" })
          assert.deepInclude((told as { details: object }).details, { amount: "4189", error: "tea at berlin" })
        }).pipe(Effect.provide(shop()))
      }).pipe(Effect.scoped)
  )

  it.live(
    "when the pager fails in every way there is, then it is told again with growing pauses, or when it asks for it, until it accepts; the web hook has long heard",
    () =>
      Effect.gen(function* () {
        const { hook, pager, shop } = yield* world
        yield* Effect.gen(function* () {
          const id = Shop.fresh("stock_drift:pot")
          pager.mishaps.push(
            { status: 500 },
            { status: 301 },
            { silent: true },
            { lost: true },
            { status: 429, retryAfter: "1" },
            { status: 429, retryAfter: "Wed, 21 Oct 2015 07:28:00 GMT" },
            { status: 400 }
          )
          const began = Date.now()
          yield* raise(id, "warning")
          yield* eventually(
            Effect.sync(() => hook.events.size),
            (size) => size === 1
          )
          const { page } = yield* AlertList
          const unsent = yield* page({ unsent: true, limit: 10 })
          assert.deepStrictEqual(
            unsent.alerts.map((alert) => alert.id),
            [id]
          )
          assert.deepStrictEqual(yield* counted, { critical: 0, warning: 1, info: 0 })
          yield* sent(id)
          // 100 + 200 + 400 + 800 + 1000 + 800 + 800 ms of pauses, and one silence.
          assert.isAtLeast(Date.now() - began, 4000)
          assert.strictEqual(pager.received.length, 8)
          // The answer to one of them was lost: the pager knows by the key that it is the same.
          assert.deepStrictEqual(pager.incidents.get(id), [{ status: "triggered", severity: "warning", triggers: 2 }])
          assert.strictEqual(hook.events.size, 1)
          assert.deepStrictEqual((yield* page({ unsent: true, limit: 10 })).alerts, [])
          assert.deepStrictEqual(yield* counted, { critical: 0, warning: 0, info: 0 })
        }).pipe(Effect.provide(shop()))
      }).pipe(Effect.scoped),
    30_000
  )

  it.live(
    "when nodes end while the pager is down, then the last one tells it, and a sink that is gone is forgotten",
    () =>
      Effect.gen(function* () {
        const { hook, pager, shop } = yield* world
        const id = Shop.fresh("stock_drift:cup")
        pager.down = true
        hook.down = true
        yield* Effect.gen(function* () {
          yield* raise(id)
          yield* eventually(
            Effect.sync(() => pager.received.length),
            (length) => length >= 2
          )
        }).pipe(Effect.provide(shop()))
        yield* eventually(
          Effect.sync(() => pager.received.length),
          (length) => length >= 3
        ).pipe(Effect.provide(shop()))
        pager.down = false
        const pagerOnly = [
          PagerDutySink.make({ routingKey: Redacted.make(routingKey), url: pager.url, source: "test", timeout })
        ]
        yield* Effect.gen(function* () {
          const { sinks } = yield* sent(id)
          assert.deepStrictEqual(
            sinks.map(({ sink }) => sink),
            ["log", "pagerduty"]
          )
          const sql = yield* SqlClient
          assert.deepStrictEqual(yield* sql`select name from runtime.timers where actor_type = 'Alert'`, [])
        }).pipe(Effect.provide(shop(pagerOnly)))
        assert.deepStrictEqual(pager.incidents.get(id), [{ status: "triggered", severity: "critical", triggers: 1 }])
      }).pipe(Effect.scoped)
  )

  it.live(
    "when a void fails for good while the pager is down, then the record is there, its flag says that nobody was told, and changes once all were; no authorization is in what they were told (T-CMP-08, REQ-CPN-03)",
    () =>
      Effect.gen(function* () {
        const { hook, pager, shop } = yield* world
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          const provider = yield* PaymentProvider
          pager.down = true
          yield* Shop.stock([{ sku: "mug", price: 700n, onHand: { berlin: 5 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({
            lines: { mug: 1 },
            card: "pm_sandbox_capture_and_void_fail_always"
          })
          assert.strictEqual((yield* Effect.flip(confirm()))._tag, "CheckoutCompensated")
          const flag = Effect.map(
            sql<{
              alert_sent: boolean
            }>`select alert_sent from payment.failed_compensations where order_id = ${checkoutId}`,
            (rows) => rows.map((row) => row.alert_sent)
          )
          yield* eventually(
            Effect.sync(() => hook.events.size),
            (size) => size === 1
          )
          yield* eventually(
            Effect.sync(() => pager.received.length),
            (length) => length >= 2
          )
          assert.deepStrictEqual(yield* flag, [false])
          pager.down = false
          yield* eventually(flag, ([told]) => told === true)
          const secret = provider.ledger.ofCheckout(checkoutId)[0]!.id
          const everything = [...pager.received, ...hook.received].join("\n")
          assert.include(everything, checkoutId)
          assert.include(everything, "sha256:")
          assert.notInclude(everything, secret)
          assert.notInclude(everything, "pm_sandbox")
        }).pipe(Effect.provide(shop()))
      }).pipe(Effect.scoped),
    30_000
  )
})
