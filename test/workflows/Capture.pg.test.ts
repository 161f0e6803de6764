/** Captures to the end: one key while nobody knows, one capture or one void, whatever goes wrong on the way. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Fault } from "../../src/sandbox/Faults.ts"
import type { LedgerEntry } from "../../src/sandbox/Ledger.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Captures } from "../../src/workflows/capture/Captures.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

const order = Effect.fnUntraced(function* (card = "pm_card_visa") {
  yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
  const { checkoutId, confirm, session, by } = yield* Shop.prepare({ lines: { lamp: 1 }, card })
  const placement = yield* Placement
  const provider = yield* PaymentProvider
  const sql = yield* SqlClient
  const look = Effect.map(placement.client(Payment)(checkoutId).GetPayment(), (view) => view!)
  return {
    confirm: () => Effect.result(confirm()),
    capture: () => placement.client(Captures)(checkoutId).Capture({ key: Shop.key() }),
    look,
    until: (saga: string) => eventually(look, (view) => view?.saga === saga),
    entry: () => provider.ledger.ofCheckout(checkoutId)[0]!,
    inject: (operation: "capture" | "cancel" | "retrieve", fault: Fault, times: number | "always" = 1) =>
      provider.faults.inject({ operation, fault, times }),
    session: session.GetCheckout({ by }),
    standing: Effect.map(
      sql<Readonly<Record<string, string | null>>>`
        select o.status, o.payment_status, o.reason, r.status as stock, (select count(*) from payment.failed_compensations where order_id = o.id) as records
        from orders.orders o join warehouse.reservations r on r.id = o.id where o.id = ${checkoutId}`,
      ([row]) => ({
        status: row?.["status"],
        payment_status: row?.["payment_status"],
        reason: row?.["reason"],
        stock: row?.["stock"],
        records: Number(row?.["records"])
      })
    ),
    history: Effect.map(
      sql<{ at: string; command: string }>`
        select extract(epoch from at) * 1000 as at, command from runtime.history where actor_type = 'Payment' and actor_id = ${checkoutId} order by seq`,
      (rows) => rows.map(({ at, command }) => ({ at: Number(at), command }))
    )
  }
})

const keysOf = ({ movements }: LedgerEntry) =>
  movements.filter(({ operation }) => operation === "capture").map(({ key }) => key)

const sound = Effect.gen(function* () {
  assert.deepStrictEqual(yield* Shop.violations, [])
})

const unavailable: Fault = { _tag: "Unavailable" }

describe("given a hold that is to be captured at once", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect(
      "when the provider answers 503, 503, ok, then there is one capture of the total, with one key and growing gaps (T-PAY-01)",
      () =>
        Effect.gen(function* () {
          const { confirm, entry, history, inject, look, standing, until } = yield* order()
          inject("capture", unavailable, 2)
          yield* confirm()
          yield* until("captured")
          assert.deepInclude(yield* look, { captureRetryCount: 1, captured: 10_000n })
          assert.strictEqual(entry().calls.capture, 3)
          assert.deepStrictEqual(entry().captured, { times: 1, amount: 10_000 })
          assert.strictEqual(keysOf(entry()).length, 1)
          assert.match(keysOf(entry())[0]!, /^capture:[^:]+:1$/)
          const failed = (yield* history).filter(({ command }) => command === "CaptureFailed")
          const begun = (yield* history).filter(({ command }) => command === "StartCapture").slice(1)
          const gaps = failed.map(({ at }, index) => begun[index]!.at - at)
          // 100 ms and 200 ms in this shop, 5 s and 10 s in others.
          assert.isAtLeast(gaps[0]!, 95)
          assert.isAtLeast(gaps[1]!, 195)
          assert.deepInclude(yield* standing, { status: "confirmed", payment_status: "completed", records: 0 })
          yield* sound
        })
    )

    it.effect("when the second call was carried out and its answer lost, then there is one capture (T-CHK-06)", () =>
      Effect.gen(function* () {
        for (const lost of [
          { _tag: "Reset", done: true },
          { _tag: "Silence", done: true },
          { _tag: "ServerError", done: true }
        ] satisfies ReadonlyArray<Fault>) {
          const { confirm, entry, inject, standing, until } = yield* order()
          inject("capture", unavailable)
          inject("capture", lost)
          yield* confirm()
          yield* until("captured")
          assert.strictEqual(entry().calls.capture, 2, lost._tag)
          assert.deepStrictEqual(entry().captured, { times: 1, amount: 10_000 })
          yield* eventually(standing, ({ records, status }) => status === "confirmed" && records === 0)
        }
        yield* sound
      })
    )

    it.effect(
      "when a failure is stored under its key, then the lookup comes first and the next call has the next key (REQ-CAP-03)",
      () =>
        Effect.gen(function* () {
          const { confirm, entry, inject, until } = yield* order()
          inject("capture", { _tag: "ServerError", done: false }, 2)
          yield* confirm()
          yield* until("captured")
          assert.deepStrictEqual(
            keysOf(entry()).map((key) => key?.split(":").slice(2).join(":")),
            ["1:3"]
          )
          assert.strictEqual(entry().calls.capture, 3)
        })
    )

    it.effect("when neither the call nor the lookup is answered, then no second key is used (REQ-CAP-03)", () =>
      Effect.gen(function* () {
        const { confirm, entry, inject, until } = yield* order()
        inject("capture", { _tag: "ServerError", done: true })
        inject("retrieve", unavailable)
        yield* confirm()
        yield* until("captured")
        assert.strictEqual(entry().calls.capture, 1)
        assert.deepStrictEqual(entry().captured, { times: 1, amount: 10_000 })
      })
    )

    it.effect(
      "when the capture is refused for good, then there is one void, the stock is back, and nothing in the dead letters",
      () =>
        Effect.gen(function* () {
          for (const { code, reason } of [
            { code: "charge_expired_for_capture", reason: "authorization_expired" },
            { code: "account_closed", reason: "payment_failed" }
          ]) {
            const { confirm, entry, inject, standing } = yield* order()
            inject("capture", { _tag: "Refused", code, message: "No." }, 1)
            yield* confirm()
            yield* eventually(standing, ({ status }) => status === "cancelled")
            assert.deepStrictEqual(yield* standing, {
              status: "cancelled",
              payment_status: "cancelled",
              reason,
              stock: "released",
              records: 0
            })
            const { calls, captured, voided } = entry()
            assert.deepStrictEqual([calls.capture, captured.times, voided.times, calls.cancel], [1, 0, 1, 1])
          }
          yield* sound
        })
    )

    it.effect("when all four calls fail, then the hold is dropped and the order cancelled at once (T-PAY-02)", () =>
      Effect.gen(function* () {
        const { confirm, entry, inject, look, standing } = yield* order()
        inject("capture", unavailable, 4)
        yield* confirm()
        yield* eventually(standing, ({ status }) => status === "cancelled")
        assert.deepInclude(yield* standing, { reason: "payment_capture_exhausted", stock: "released", records: 0 })
        assert.deepInclude(yield* look, { saga: "voided", captureRetryCount: 3 })
        const { calls, voided } = entry()
        assert.deepStrictEqual([calls.capture, voided.times], [4, 1])
        yield* sound
      })
    )

    it.effect("when the last call took the money and nobody was told, then it is refunded, not voided (T-PAY-25)", () =>
      Effect.gen(function* () {
        const { confirm, entry, inject, look, standing } = yield* order()
        inject("capture", unavailable, 3)
        inject("capture", { _tag: "Reset", done: true })
        // Each of the four calls is looked up after it, and each retry before it: all but the last look are answered.
        inject("retrieve", { _tag: "Delay", ms: 0 }, 6)
        inject("retrieve", unavailable)
        yield* confirm()
        yield* eventually(look, (view) => view?.saga === "refunded")
        const { captured, refunded, voided } = entry()
        assert.deepStrictEqual([captured.times, refunded.times, voided.times], [1, 1, 0])
        assert.deepInclude(yield* standing, { status: "cancelled", payment_status: "refunded", stock: "released" })
        yield* sound
      })
    )
  })
})

const deferred = (limits: Partial<typeof Shop.quickLimits.payment> = {}) => ({
  ...Shop.quickLimits,
  payment: { ...Shop.quickLimits.payment, ...limits },
  checkout: { ...Shop.quickLimits.checkout, captureMode: "deferred" as const }
})

describe("given a shop which captures when it ships (REQ-CAP-08)", () => {
  layer(Shop.layer(deferred()), { excludeTestServices: true })((it) => {
    it.effect("when an order is confirmed, then its hold alone has done that, and its stock is committed", () =>
      Effect.gen(function* () {
        const { confirm, entry, look, standing } = yield* order()
        assert.strictEqual((yield* confirm())._tag, "Success")
        assert.deepInclude(yield* look, { saga: "authorized", captureMode: "deferred", captured: 0n })
        assert.deepInclude(yield* standing, { status: "confirmed", payment_status: "authorized", stock: "fulfilled" })
        assert.deepStrictEqual([entry().authorized.times, entry().captured.times], [1, 0])
        yield* sound
      })
    )

    it.effect(
      "when it is captured 20 times at once, then the money is taken once and all hear the same (REQ-CAP-10)",
      () =>
        Effect.gen(function* () {
          const { capture, confirm, entry, standing } = yield* order()
          yield* confirm()
          const told = yield* Effect.all(Array.from({ length: 20 }, capture), { concurrency: "unbounded" })
          for (const view of told) assert.deepInclude(view, { saga: "captured", captured: 10_000n })
          assert.deepStrictEqual([entry().captured.times, entry().calls.capture], [1, 1])
          assert.deepInclude(yield* standing, { status: "confirmed", payment_status: "completed" })
          yield* capture()
          assert.strictEqual(entry().calls.capture, 1, "taken already is success (T-PAY-04)")
          yield* sound
        })
    )

    it.effect("when the first try fails, then it is retried like any capture", () =>
      Effect.gen(function* () {
        const { capture, confirm, entry, inject, standing, until } = yield* order()
        yield* confirm()
        inject("capture", unavailable, 2)
        assert.deepInclude(yield* capture(), { saga: "capture_failed", status: "processing" })
        yield* until("captured")
        assert.deepStrictEqual([entry().captured.times, entry().calls.capture], [1, 3])
        assert.deepInclude(yield* standing, { status: "confirmed", payment_status: "completed" })
        yield* sound
      })
    )

    it.effect(
      "when no try goes through, then the confirmed order is cancelled, the hold dropped and the stock given back",
      () =>
        Effect.gen(function* () {
          const { capture, confirm, entry, inject, standing } = yield* order()
          yield* confirm()
          inject("capture", unavailable, 4)
          yield* capture()
          yield* eventually(standing, ({ status }) => status === "cancelled")
          assert.deepInclude(yield* standing, {
            payment_status: "cancelled",
            reason: "payment_capture_exhausted",
            stock: "reversed",
            records: 0
          })
          assert.deepStrictEqual([entry().captured.times, entry().voided.times], [0, 1])
          yield* sound
        })
    )

    it.effect("when there is nothing to capture, then that is said", () =>
      Effect.gen(function* () {
        const placement = yield* Placement
        const nowhere = placement.client(Captures)(Shop.fresh("checkout"))
        assert.strictEqual((yield* Effect.flip(nowhere.Capture({ key: Shop.key() })))._tag, "NotFound")
        const { capture, confirm } = yield* order("pm_card_chargeDeclined")
        yield* confirm()
        assert.strictEqual((yield* Effect.flip(capture()))._tag, "PaymentConflict")
      })
    )
  })

  it.live("when nobody captures it, then that happens before the hold runs out (T-PAY-24)", () =>
    Effect.gen(function* () {
      const { confirm, entry, look, until } = yield* order()
      yield* confirm()
      assert.strictEqual((yield* look).saga, "authorized")
      yield* until("captured")
      assert.strictEqual(entry().captured.times, 1)
      yield* sound
    }).pipe(
      // The provider's holds last seven days: a second later than that is as late as this shop waits.
      Effect.provide(Shop.layer(deferred({ captureLead: Duration.subtract(Duration.days(7), Duration.seconds(2)) })))
    )
  )
})
