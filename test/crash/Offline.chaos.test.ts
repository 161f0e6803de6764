import { isDeepStrictEqual } from "node:util"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"
import { type Arguments, ask, type Deed, limitsOf } from "./CrashingOffline.ts"

const run = runToEnd(new URL("CrashingOffline.ts", import.meta.url).pathname)

/** What an order is once the deed is done, however often it was begun. */
interface End {
  readonly order: string
  readonly payment: string
  readonly stock: string
  readonly owed: string
  readonly open: boolean
  /** Receipts of money, and times it was given back. */
  readonly moves: number
  /** What stands in the audit trail. */
  readonly audits: string | null
  /** Alerts about it, and how often each was raised. */
  readonly alerts: string | null
}

const nothing = { owed: "0", open: false, moves: 0, audits: null, alerts: null }
const before: Readonly<
  Record<Deed, { readonly method: string; readonly done: ReadonlyArray<readonly [Deed, string]> }>
> = {
  place: { method: "bank_transfer", done: [] },
  confirm: { method: "cash_on_delivery", done: [["place", "0"]] },
  cash: {
    method: "cash_on_delivery",
    done: [
      ["place", "0"],
      ["confirm", "0"]
    ]
  },
  transfer: { method: "bank_transfer", done: [["place", "0"]] },
  "give back": {
    method: "bank_transfer",
    done: [
      ["place", "0"],
      ["transfer", "2000"]
    ]
  },
  "confirm by itself": { method: "cash_on_delivery", done: [["place", "0"]] },
  lapse: {
    method: "bank_transfer",
    done: [
      ["place", "0"],
      ["transfer", "1000"]
    ]
  }
}
const deeds: Readonly<Record<Deed, { readonly amount: string; readonly end: End }>> = {
  place: { amount: "0", end: { ...nothing, order: "pending", payment: "pending", stock: "active" } },
  confirm: {
    amount: "0",
    end: { ...nothing, order: "confirmed", payment: "pending", stock: "fulfilled", audits: "ConfirmCashOnDelivery" }
  },
  cash: {
    amount: "1740",
    end: {
      ...nothing,
      order: "confirmed",
      payment: "completed",
      stock: "fulfilled",
      moves: 1,
      audits: "ConfirmCashOnDelivery, RecordCash"
    }
  },
  transfer: {
    amount: "2000",
    end: {
      order: "confirmed",
      payment: "completed",
      stock: "fulfilled",
      owed: "260",
      open: false,
      moves: 1,
      audits: "RecordBankTransfer",
      alerts: "money_owed open 1"
    }
  },
  "give back": {
    amount: "260",
    end: {
      ...nothing,
      order: "confirmed",
      payment: "completed",
      stock: "fulfilled",
      moves: 2,
      audits: "RecordBankTransfer, RecordGivenBack",
      alerts: "money_owed cleared 1"
    }
  },
  "confirm by itself": {
    amount: "0",
    end: { ...nothing, order: "confirmed", payment: "pending", stock: "fulfilled" }
  },
  lapse: {
    amount: "0",
    end: {
      order: "cancelled",
      payment: "cancelled",
      stock: "released",
      owed: "1000",
      open: true,
      moves: 1,
      audits: "RecordBankTransfer",
      alerts: "money_owed open 1"
    }
  }
}

const endOf = (id: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<End>`
        select o.status as "order", o.payment_status as payment, r.status as stock, p.owed::text as owed, o.settlement_open as open,
          coalesce(jsonb_array_length(p.receipts), 0) + coalesce(jsonb_array_length(p.given_back), 0) as moves,
          (select string_agg(a.operation, ', ' order by a.id) from ops.audit a where a.subject = o.id) as audits,
          (select string_agg(a.kind || ' ' || a.status || ' ' || a.raises, ', ') from ops.alerts a where a.id like '%:' || o.id) as alerts
        from orders.orders o join payment.payments p on p.id = o.id join warehouse.reservations r on r.id = o.id where o.id = ${id}`,
      ([row]) => (row === undefined ? undefined : { ...row })
    )
  )

describe("given an order which is paid in cash or by transfer, in a process that is killed at a boundary", () => {
  for (const [deed, { amount, end }] of Object.entries(deeds) as ReadonlyArray<[Deed, (typeof deeds)[Deed]]>) {
    it.live(
      `when another takes over (${deed}), then it was done once, with its money, its stock, its row in the audit trail and its alert, at every boundary (REQ-GEN-10)`,
      () =>
        Effect.gen(function* () {
          const url = yield* freshDatabase
          yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
          const shop = Shop.shopOn(url, limitsOf(deed)).pipe(Layer.provide(Shop.gateway()))
          /** An order that is ready for the deed; the child is the only node while it lives. */
          const ready = (dieAt: number) =>
            Effect.gen(function* () {
              yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 1000 } }])
              const { done, method } = before[deed]
              const { by, checkoutId: id } = yield* Shop.prepare({ lines: { tea: 1 }, card: method })
              for (const [earlier, sum] of done) {
                yield* ask({ deed: earlier, id, customer: by, key: Shop.fresh("earlier"), amount: sum })
              }
              return {
                databaseUrl: Redacted.value(url),
                id,
                customer: by,
                deed,
                key: Shop.fresh("asked"),
                amount,
                dieAt
              }
            }).pipe(
              Effect.provide(shop),
              Effect.map((made): Arguments => made)
            )
          const boundaries = (yield* run(yield* ready(0))) ?? 0
          assert.isAtLeast(boundaries, 2)
          let killed = 0
          for (let dieAt = 1; dieAt <= boundaries; dieAt++) {
            const args = yield* ready(dieAt)
            if ((yield* run(args)) === undefined) killed++
            yield* Effect.gen(function* () {
              // Whoever was told nothing asks again with the same key; what had begun goes on by itself.
              yield* Effect.ignore(ask(args))
              const found = yield* eventually(endOf(args.id), (now) => isDeepStrictEqual(now, end))
              assert.deepStrictEqual(found, end, `killed at boundary ${dieAt} of ${boundaries}`)
              assert.deepStrictEqual(yield* Shop.violations, [])
            }).pipe(Effect.provide(shop))
          }
          assert.isAtLeast(killed, 2)
        }).pipe(Effect.scoped),
      300_000
    )
  }
})
