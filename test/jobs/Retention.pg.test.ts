import { assert, describe, it, layer } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Duration, Effect, Fiber, Layer, Metric, type Redacted, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { DurableDeferred } from "effect/workflow"
import { Currency } from "../../src/domain/Money.ts"
import { Quantity } from "../../src/domain/Quantity.ts"
import { CartId, CheckoutId, Sku } from "../../src/domain/Ids.ts"
import { Cart } from "../../src/entities/cart/Cart.ts"
import * as CartActor from "../../src/entities/cart/CartActor.ts"
import { CheckoutSession, PaymentMethodToken } from "../../src/entities/checkoutSession/CheckoutSession.ts"
import * as CheckoutSessionActor from "../../src/entities/checkoutSession/CheckoutSessionActor.ts"
import * as FailedCompensationActor from "../../src/entities/failedCompensation/FailedCompensationActor.ts"
import * as OrderActor from "../../src/entities/order/OrderActor.ts"
import * as PaymentActor from "../../src/entities/payment/PaymentActor.ts"
import * as ProviderEventActor from "../../src/entities/providerEvent/ProviderEventActor.ts"
import * as ReservationActor from "../../src/entities/reservation/ReservationActor.ts"
import * as Retention from "../../src/jobs/Retention.ts"
import { rememberedOf, removedOf } from "../../src/layers/Shop.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Journal } from "../../src/runtime/Journal.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import * as WorkflowEngine from "../../src/runtime/WorkflowEngine.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { runtimeLayer } from "../fixtures/Runtime.ts"
import * as Shop from "../fixtures/Shop.ts"
import * as Webhooks from "../fixtures/Webhooks.ts"
import {
  Ask,
  Brew,
  definitions,
  Gate,
  Household,
  isSuspended,
  newKey,
  Trace,
  Word
} from "../runtime/WorkflowConformance.ts"

const { quickLimits: limits } = Shop
const actors = {
  cart: CartActor.make(limits.cart),
  session: CheckoutSessionActor.make(limits.session),
  reservation: ReservationActor.make(limits.reservation),
  payment: PaymentActor.make(limits.payment),
  order: OrderActor.make(limits.order),
  failed: FailedCompensationActor.make(limits.compensation)
}
const providerEvent = ProviderEventActor.make(limits.webhook)

/** With pages so small that there are several. */
const pass = (keptFor: Duration.Duration) =>
  Retention.pass({
    actors: rememberedOf(actors, { keysKeptFor: keptFor }),
    removed: removedOf(providerEvent, { keysKeptFor: keptFor }),
    executionsKeptFor: keptFor,
    page: 2
  })

const month = Duration.days(30)

/** Makes everything of the runtime as old as that. */
const age = Effect.fnUntraced(function* (days: number) {
  const sql = yield* SqlClient
  const back = `${days} days`
  yield* sql`update runtime.history set at = at - ${back}::interval`
  yield* sql`update runtime.workflows set created_at = created_at - ${back}::interval, updated_at = updated_at - ${back}::interval`
  yield* sql`update runtime.workflow_steps set at = at - ${back}::interval`
  yield* sql`
    update payment.provider_events set settled_at = settled_at - ${back}::interval, updated_at = updated_at - ${back}::interval`
})

/** How many commands each kind of actor of one id is remembered by. */
const remembered = Effect.fnUntraced(function* (id: string) {
  const sql = yield* SqlClient
  const rows = yield* sql<{ type: string; rows: number }>`
    select actor_type as type, count(*)::int as rows from runtime.history where actor_id = ${id} group by actor_type`
  return Object.fromEntries(rows.map(({ rows: count, type }) => [type, count]))
})

const restarted = (url: Redacted.Redacted<string>) => Layer.build(Layer.fresh(Shop.shopOn(url)))

/** A database, and its provider; shops on it are for the test to start. */
const database = Effect.gen(function* () {
  const url = yield* freshDatabase
  yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
  return url
})

const eur = Currency.make("EUR")
const tea = { sku: Sku.make("tea"), quantity: Quantity.make(1), currency: eur }

describe("given checkouts which ended long ago", () => {
  it.live(
    "when they are forgotten, then a very late duplicate is refused, or answered as before, and does nothing (T-MSG-07)",
    () =>
      Effect.gen(function* () {
        const url = yield* database
        const keys = { add: Shop.key(), start: Shop.key(), address: Shop.key(), confirm: Shop.key() }
        const first = yield* restarted(url)
        const buyer = yield* Effect.gen(function* () {
          yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }])
          const cartId = CartId.make(Shop.fresh("cart"))
          const checkoutId = CheckoutId.make(Shop.fresh("checkout"))
          const made = yield* Shop.prepare({ cartId, checkoutId, lines: { tea: 1 } })
          // Besides what the fixture did: commands whose keys the test knows.
          yield* made.cart.AddItem({ key: keys.add, by: made.by, ...tea })
          yield* made.session.StartCheckout({ key: keys.start, by: made.by, cartId, currency: eur })
          yield* made.session.SetAddress({ key: keys.address, by: made.by, address: Shop.address })
          const declined = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_chargeDeclined" })
          yield* Effect.flip(declined.confirm())
          yield* declined.session.AbandonCheckout({ key: Shop.key(), by: declined.by })
          const shopping = yield* Shop.prepare({ lines: { tea: 1 } })
          const confirmation = yield* made.confirm(keys.confirm)
          yield* eventually(remembered(cartId), ({ Cart: commands }) => commands === 4)
          return { ...made, confirmation, declined, shopping }
        }).pipe(Effect.provideContext(first))
        const { by, cartId, checkoutId, confirmation, declined, shopping } = buyer
        yield* Effect.gen(function* () {
          const before = { order: yield* remembered(checkoutId), open: yield* remembered(shopping.cartId) }
          yield* age(29)
          assert.deepStrictEqual([...(yield* pass(month)).values()], [0, 0, 0, 0, 0], "nothing goes before its time")
          yield* age(2)
          const gone = yield* pass(month)
          assert.isAbove(gone.get("Cart")!, 3)
          assert.isAbove(gone.get("CheckoutSession")!, 8)
          // A completed cart and a confirmed checkout are over; the order, its money and its stock are its record.
          assert.deepStrictEqual(yield* remembered(cartId), {})
          const { CheckoutSession: _, ...record } = before.order
          assert.deepStrictEqual(yield* remembered(checkoutId), record)
          assert.includeMembers(Object.keys(record), ["Order", "Payment", "Reservation"])
          // What came to nothing leaves nothing.
          assert.deepStrictEqual(yield* remembered(declined.checkoutId), {})
          // A cart which is still open remembers.
          assert.deepStrictEqual(yield* remembered(shopping.cartId), before.open)
          assert.deepStrictEqual([...(yield* pass(month)).values()], [0, 0, 0, 0, 0])
        }).pipe(Effect.provideContext(first))

        // A node which has nothing in memory, and one which has.
        for (const node of [yield* restarted(url), first]) {
          yield* Effect.gen(function* () {
            const placement = yield* Placement
            const cart = placement.client(Cart)(cartId)
            const session = placement.client(CheckoutSession)(checkoutId)
            const checkout = placement.client(Checkout, { timeout: Shop.patience })(checkoutId)
            assert.deepStrictEqual(yield* checkout.Confirm({ by, confirmKey: keys.confirm }), confirmation)
            assert.deepStrictEqual(yield* checkout.Confirm({ by, confirmKey: Shop.key() }), confirmation)
            const started = yield* session.StartCheckout({ key: keys.start, by, cartId, currency: eur })
            assert.strictEqual(started.status, "confirmed")
            const added = yield* Effect.result(cart.AddItem({ key: keys.add, by, ...tea }))
            if (Result.isSuccess(added)) assert.strictEqual(added.success.status, "completed")
            else assert.strictEqual(added.failure._tag, "CartClosed")
            const moved = yield* Effect.result(
              session.SetAddress({ key: keys.address, by, address: { ...Shop.address, city: "Lyon" } })
            )
            assert.isTrue(Result.isFailure(moved))
            const paid = yield* Effect.result(
              session.SetPaymentMethod({ key: Shop.key(), by, paymentMethod: PaymentMethodToken.make("pm_card_visa") })
            )
            assert.isTrue(Result.isFailure(paid) && paid.failure._tag === "CheckoutClosed")
          }).pipe(Effect.provideContext(node))
        }

        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          const { ledger } = yield* PaymentProvider
          const entries = ledger.ofCheckout(checkoutId)
          assert.strictEqual(
            entries.reduce((sum, { captured }) => sum + captured.times, 0),
            1
          )
          const [stock] = yield* sql<{ on_hand: number; committed: number; reserved: number }>`
            select on_hand::int, committed::int, reserved::int from warehouse.stock where sku = 'tea'`
          assert.deepStrictEqual(stock, { on_hand: 10, committed: 2, reserved: 0 })
          assert.lengthOf(yield* sql`select from orders.orders`, 1)
          // What was refused meanwhile is remembered, and goes in its time.
          assert.isAbove((yield* remembered(checkoutId))["CheckoutSession"]!, 0)
          yield* age(31)
          yield* pass(month)
          assert.notProperty(yield* remembered(checkoutId), "CheckoutSession")
          assert.deepStrictEqual(yield* remembered(cartId), {})
        }).pipe(Effect.provideContext(first))
      }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
    60_000
  )

  it.live("when something of theirs is still under way, then they are remembered until it is not", () =>
    Effect.gen(function* () {
      const url = yield* database
      const shop = yield* restarted(url)
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        const bucket = (yield* Placement).bucketOf("any")
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }])
        const [parked, working, free] = yield* Effect.forEach([1, 2, 3], () => Shop.prepare({ lines: { tea: 1 } }))
        for (const buyer of [parked, working, free])
          yield* buyer!.session.AbandonCheckout({ key: Shop.key(), by: buyer!.by })
        yield* age(40)
        yield* sql`insert into runtime.notices (source_id, source_type, seq, ordinal, bucket, receiver_type, receiver_id, message, due_at, attempts, parked_at)
          values ('someone', 'Order', 1, 0, ${bucket}, 'CheckoutSession', ${parked!.checkoutId}, '{}', now(), 10, now())`
        yield* sql`insert into runtime.workflows (id, version, name, business_key, status, payload, interrupted, bucket, created_at, updated_at)
          values ('working', 1, 'Unknown', ${working!.checkoutId}, 'suspended', '{}', false, ${bucket}, now() - interval '40 days', now() - interval '40 days')`
        yield* pass(month)
        assert.isNotEmpty(yield* remembered(parked!.checkoutId))
        assert.isNotEmpty(yield* remembered(working!.checkoutId))
        assert.isEmpty(yield* remembered(free!.checkoutId))
        assert.lengthOf(yield* sql`select from runtime.notices where parked_at is not null`, 1)
        yield* sql`delete from runtime.notices`
        yield* sql`update runtime.workflows set status = 'completed', result = '{}'`
        yield* pass(month)
        assert.isEmpty(yield* remembered(parked!.checkoutId))
        assert.isEmpty(yield* remembered(working!.checkoutId))
      }).pipe(Effect.provideContext(shop))
    }).pipe(Effect.provide(Shop.gateway()), Effect.scoped)
  )
})

describe("given what a payment provider told long ago", () => {
  it.live("when it is forgotten, then nothing of it is left, and what is set aside for an operator stays", () =>
    Effect.gen(function* () {
      const shop = yield* restarted(yield* database)
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        const url = yield* Webhooks.endpoint()
        const statuses = Effect.map(
          sql<{ status: string }>`select status from payment.provider_events order by event_id`,
          (rows) => rows.map(({ status }) => status)
        )
        const told = (id: string) =>
          Webhooks.eventBody(
            "payment_intent.succeeded",
            {
              id: `pi_of_${id}`,
              object: "payment_intent",
              amount: 100,
              amount_received: 100,
              currency: "eur",
              metadata: {}
            },
            { id }
          )
        for (const id of ["evt_1", "evt_2"]) assert.strictEqual(yield* Webhooks.send(url, told(id)), 200)
        yield* eventually(statuses, (found) => found.length === 2 && found.every((status) => status === "unmatched"))
        yield* sql`update payment.provider_events set status = 'parked' where event_id = 'evt_2'`
        yield* age(29)
        yield* pass(month)
        assert.deepStrictEqual(yield* statuses, ["unmatched", "parked"])
        yield* age(2)
        yield* pass(month)
        assert.deepStrictEqual(yield* statuses, ["parked"])
        const [left] = yield* sql<{ ids: number }>`
          select count(distinct actor_id)::int as ids from runtime.history where actor_type = 'ProviderEvent'`
        assert.deepStrictEqual(left, { ids: 1 })
      }).pipe(Effect.provideContext(shop))
    }).pipe(Effect.provide(Shop.gateway()), Effect.scoped)
  )
})

describe("given a shop which serves while two nodes forget at once", () => {
  it.live(
    "when each checkout is confirmed twice and forgotten as soon as it is over, then each is ordered and paid for once",
    () =>
      Effect.gen(function* () {
        const url = yield* database
        const one = yield* restarted(url)
        const other = yield* restarted(url)
        yield* Effect.gen(function* () {
          yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 40, lyon: 20 } }])
          // No horizon at all: harder than any setting.
          const forgetting = pass(Duration.zero).pipe(Effect.repeat(Schedule.forever))
          const forgetters = yield* Effect.forEach([one, other], (node) =>
            Effect.forkChild(forgetting.pipe(Effect.provideContext(node)))
          )
          const buyers = yield* Effect.forEach(
            Array.from({ length: 60 }, (_, index) => index),
            (index) =>
              Shop.prepare({ lines: { tea: 1 }, card: index % 6 === 0 ? "pm_card_chargeDeclined" : "pm_card_visa" }),
            { concurrency: 10 }
          )
          const answers = yield* Effect.forEach(
            buyers,
            ({ by, checkoutId }) => {
              const confirmKey = Shop.key()
              const confirmOn = (node: typeof one) =>
                Context.get(node, Placement)
                  .client(Checkout, { timeout: Shop.patience })(checkoutId)
                  .Confirm({ by, confirmKey })
                  .pipe(
                    Effect.retry({
                      schedule: Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(200)]),
                      while: ({ _tag }) => _tag === "Unavailable" || _tag === "CartLocked"
                    }),
                    Effect.result
                  )
              return Effect.flatMap(confirmOn(one), (before) =>
                Effect.map(confirmOn(other), (after) => ({ before, after, checkoutId }))
              )
            },
            { concurrency: 10 }
          )
          // They have been at it all the time.
          for (const forgetter of forgetters) assert.isUndefined(forgetter.pollUnsafe())
          const sql = yield* SqlClient
          const { ledger } = yield* PaymentProvider
          for (const { after, before, checkoutId } of answers) {
            assert.deepStrictEqual(after, before)
            const paid = Result.isSuccess(before) ? 1 : 0
            const entries = ledger.ofCheckout(checkoutId)
            assert.strictEqual(
              entries.reduce((sum, { captured }) => sum + captured.times, 0),
              paid,
              checkoutId
            )
            assert.lengthOf(
              yield* sql`select from orders.orders where id = ${checkoutId} and status = 'confirmed'`,
              paid
            )
          }
          assert.lengthOf(
            answers.filter(({ before }) => Result.isSuccess(before)),
            50
          )
          const [stock] = yield* sql<{ committed: number; reserved: number }>`
            select sum(committed)::int as committed, sum(reserved)::int as reserved from warehouse.stock`
          assert.deepStrictEqual(stock, { committed: 50, reserved: 0 })
          const left = yield* eventually(
            sql<{ rows: number }>`
              select count(*)::int as rows from runtime.history h join checkout.sessions s on s.id = h.actor_id
              where h.actor_type = 'CheckoutSession' and s.status = 'confirmed'`,
            ([found]) => found?.rows === 0
          )
          assert.deepStrictEqual(left, [{ rows: 0 }])
          yield* Effect.forEach(forgetters, Fiber.interrupt)
          assert.deepStrictEqual(
            (yield* Shop.violations).filter(({ problem }) => problem !== "history with a gap"),
            []
          )
        }).pipe(Effect.provideContext(one))
      }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
    120_000
  )

  it.live("when nobody does it by hand, then one of the nodes does", () =>
    Effect.gen(function* () {
      const url = yield* database
      const often = { ...limits, retention: { ...limits.retention, interval: Duration.millis(200) } }
      const shop = yield* Layer.build(Layer.fresh(Shop.shopOn(url, often)))
      yield* Effect.gen(function* () {
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }])
        const { by, checkoutId, session } = yield* Shop.prepare({ lines: { tea: 1 } })
        yield* session.AbandonCheckout({ key: Shop.key(), by })
        yield* age(40)
        yield* eventually(remembered(checkoutId), (rows) => Object.keys(rows).length === 0)
        const counted = (yield* Metric.snapshot).filter(({ id }) => id === "retention_purged_rows_total")
        assert.isTrue(
          counted.some(
            ({ attributes, state }) =>
              attributes?.["what"] === "CheckoutSession" && Number((state as { count: unknown }).count) > 0
          ),
          JSON.stringify(counted, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value))
        )
      }).pipe(Effect.provideContext(shop))
    }).pipe(Effect.provide(Shop.gateway()), Effect.scoped)
  )
})

describe("given an answer whose history is forgotten while its actor is in memory", () => {
  it.live("when it is asked for again, then what is given is said to be what the actor is now", () =>
    Effect.gen(function* () {
      const url = yield* database
      const shop = yield* restarted(url)
      yield* Effect.gen(function* () {
        const { by, checkoutId, session } = yield* Shop.prepare({ lines: { tea: 1 } })
        const known = Shop.key()
        yield* session.SetAddress({ key: known, by, address: Shop.address })
        yield* session.AbandonCheckout({ key: Shop.key(), by })
        yield* age(40)
        yield* pass(month)
        const journal = yield* Journal
        const placement = yield* Placement
        const cell = yield* journal.cell(actors.session, checkoutId, placement.bucketOf(checkoutId))
        const answer = yield* journal.command({
          cell: cell as never,
          key: known,
          command: { _tag: "SetAddress", by, address: Shop.address } as never,
          cause: "test"
        })
        assert.strictEqual(answer.version, cell.version)
        assert.deepInclude(answer.state as object, { status: "abandoned" })
      }).pipe(Effect.provideContext(shop))
    }).pipe(Effect.provide(Shop.gateway()), Effect.scoped)
  )
})

describe("given executions which ended long ago", () => {
  const engine = definitions.pipe(
    Layer.provideMerge(Layer.mergeAll(WorkflowEngine.layer, Trace.layer, Gate.layer)),
    Layer.provideMerge(runtimeLayer)
  )
  layer(engine, { excludeTestServices: true })((it) => {
    const left = Effect.gen(function* () {
      const sql = yield* SqlClient
      const [rows] = yield* sql<{ executions: number; steps: number; log: number; history: number }>`
        select (select count(*)::int from runtime.workflows) as executions, (select count(*)::int from runtime.workflow_steps) as steps,
          (select count(*)::int from runtime.workflow_log) as log, (select count(*)::int from runtime.history) as history`
      return rows!
    })
    it.effect("when they are forgotten, then with all they have done, and none that is under way or needed", () =>
      Effect.gen(function* () {
        const ended = newKey("brew")
        yield* Brew.execute({ key: ended, spoons: 1n })
        yield* Effect.exit(Brew.execute({ key: newKey("brew"), spoons: 7n }))
        const key = newKey("household")
        const id = yield* Household.execute({ key }, { discard: true })
        const asking = yield* Ask.executionId({ key: `${key}-ask` })
        yield* eventually(Household.poll(id), isSuspended)
        yield* eventually(Ask.poll(asking), isSuspended)
        // Somebody answered a question which was never asked.
        const never = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: "never" })
        yield* DurableDeferred.succeed(Word, { token: never, value: 1n })
        yield* age(29)
        assert.deepStrictEqual([...(yield* pass(month)).values()], [0, 0, 0, 0, 0])
        yield* age(2)
        yield* pass(month)
        const sql = yield* SqlClient
        const names = yield* sql<{ name: string }>`select name from runtime.workflows order by name`
        // The child has ended, but its parent will ask for its result once more.
        assert.deepStrictEqual(
          names.map(({ name }) => name),
          ["Ask", "Brew", "Household"]
        )
        const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: asking })
        yield* DurableDeferred.succeed(Word, { token, value: 10n })
        assert.strictEqual(yield* Household.execute({ key }), 13n)
        assert.deepStrictEqual((yield* Trace).of(`${key}-brew`), ["boil", "warm"])
        yield* age(31)
        yield* pass(month)
        assert.deepStrictEqual(yield* left, { executions: 0, steps: 0, log: 0, history: 0 })
      })
    )
  })
})
