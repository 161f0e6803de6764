/** One sale of a product of which there is far too little: many buyers, few units. Then the books must be right. */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Report } from "./LoadOrders.ts"
import type { Charge } from "../src/simulate/SandboxControl.ts"
import type { ProcessFailed } from "./Processes.ts"
import { percentile } from "./Results.ts"
import { secret, type Stage, type Subject } from "./Stage.ts"
import * as Usage from "./Usage.ts"

export interface SaleOptions {
  /** Each has a connection, a cart and a checkout of their own, and wants one unit. */
  readonly buyers: number
  readonly units: number
  /** Buyers whose confirmation is under way at the most. */
  readonly atOnce: number
  /** A product that has never been sold before. */
  readonly sku: string
  /** Whether nodes are to be profiled, where that is wanted. */
  readonly last: boolean
}

export interface Sale {
  readonly buyers: number
  readonly seconds: number
  readonly buyersPerSecond: number
  readonly milliseconds: { readonly p50: number; readonly p99: number }
  /** Buyers who have heard that they have it. */
  readonly confirmed: number
  /** What the others have heard. */
  readonly refusals: Readonly<Record<string, number>>
  /** What is not as it must be. There is nothing. */
  readonly violations: ReadonlyArray<string>
  /** The provider is asked at the end: whose money must have been taken, and whose not. */
  readonly paid: ReadonlyArray<string>
  readonly unpaid: ReadonlyArray<string>
}

export const hold = Effect.fn("HotSale.hold")(function* (
  stage: Stage,
  subject: Subject,
  { atOnce, buyers, last, sku, units }: SaleOptions
): Effect.fn.Return<Sale, ProcessFailed | SqlError> {
  yield* Effect.provideService(putOnShelf(sku, units), SqlClient, subject.sql)
  const visit = { urls: subject.urls, secret }
  const { checkouts } = yield* stage.ask({
    _tag: "Prepare",
    ...visit,
    customers: buyers,
    checkouts: buyers,
    basket: { _tag: "One", sku },
    seed: 1
  })
  yield* subject.settled
  const rush = stage.ask({ _tag: "Confirm", ...visit, checkouts, atOnce })
  const report = yield* last ? Usage.profiled(stage, subject)(rush) : rush
  yield* subject.settled
  const books = yield* Effect.provideService(readBooks(sku), SqlClient, subject.sql)
  const heard = new Set(report.confirmed.map(({ checkoutId }) => checkoutId))
  const sorted = report.milliseconds.toSorted((left, right) => left - right)
  return {
    buyers,
    seconds: report.seconds,
    buyersPerSecond: buyers / report.seconds,
    milliseconds: { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) },
    confirmed: heard.size,
    refusals: report.refusals,
    // The floor writes no ledger.
    violations: violationsOf({ buyers, units, report, books, ledger: subject.system === "node" }).map(
      (violation) => `${subject.name}, ${sku}: ${violation}`
    ),
    paid: [...heard],
    unpaid: checkouts.flatMap(({ checkoutId }) => (heard.has(checkoutId) ? [] : [checkoutId]))
  }
})

/** All units lie in one warehouse, and the ledger knows them. */
const putOnShelf = Effect.fnUntraced(function* (sku: string, units: number) {
  const sql = yield* SqlClient
  yield* sql`
    insert into catalog.products (sku, name, category, active, taxable, version, created_at, updated_at)
    values (${sku}, 'On sale', 'bench', true, true, 1, now(), now())`
  yield* sql`
    insert into catalog.prices (sku, currency, amount, version, valid_from) values (${sku}, 'EUR', 4900, 1, now())`
  yield* sql`insert into warehouse.stock (sku, warehouse_id, on_hand) values (${sku}, 'BENCH-A', ${units})`
  yield* sql`
    insert into warehouse.stock_ledger (at, op, reference, sku, warehouse_id, on_hand, actor)
    values (now(), 'count', ${`bench:${sku}`}, ${sku}, 'BENCH-A', ${units}, 'bench')`
})

/** What the provider's own ledger says against it: each order is paid once, and nobody else has paid. */
export const chargesAgainst = (
  sales: ReadonlyArray<Pick<Sale, "paid" | "unpaid">>,
  charges: ReadonlyArray<Charge>
): ReadonlyArray<string> => {
  const byCheckout = Map.groupBy(charges, ({ checkoutId }) => checkoutId)
  return sales.flatMap(({ paid, unpaid }) => [
    ...paid.flatMap((checkoutId) => {
      const taken = (byCheckout.get(checkoutId) ?? []).filter(({ captured }) => captured.times > 0)
      const right = taken.length === 1 && taken[0]!.captured.times === 1 && taken[0]!.refunded.times === 0
      return right ? [] : [`${checkoutId}: confirmed, and the provider has ${JSON.stringify(taken)}`]
    }),
    ...unpaid.flatMap((checkoutId) => {
      const found = byCheckout.get(checkoutId)
      return found === undefined ? [] : [`${checkoutId}: refused, and the provider has ${JSON.stringify(found)}`]
    })
  ])
}

// ---- the books

const Counters = Schema.Struct({ onHand: Schema.Int, reserved: Schema.Int, committed: Schema.Int })

export const Books = Schema.Struct({
  stock: Counters,
  /** The fold of the ledger. */
  ledger: Counters,
  /** Units in the lines of orders which are confirmed. */
  sold: Schema.Int,
  /** The orders of those lines. */
  orders: Schema.Array(Schema.String),
  /** Orders of this product which are anything else. */
  unfinished: Schema.Int,
  /** Captured in full, for those orders. */
  captured: Schema.Int,
  /** Payments of this product's other checkouts. */
  strayPayments: Schema.Int,
  /** Units that reservations have bound, and those they still hold. */
  allocated: Schema.Int,
  claimed: Schema.Int
})
export type Books = typeof Books.Type

const decodeBooks = Schema.decodeUnknownEffect(Books)

const readBooks = Effect.fnUntraced(function* (sku: string) {
  const sql = yield* SqlClient
  const [row] = yield* sql`
    with bought as (
      select o.id, o.status, o.total_amount, l.quantity from orders.order_lines l join orders.orders o on o.id = l.order_id where l.sku = ${sku}
    ), wanted as (
      select s.id from checkout.sessions s join checkout.carts c on c.id = s.cart_id
      where c.lines @> jsonb_build_array(jsonb_build_object('sku', ${sku}::text))
    ), counters as (
      select jsonb_build_object('onHand', sum(on_hand), 'reserved', sum(reserved), 'committed', sum(committed)) as stock
      from warehouse.stock where sku = ${sku}
    ), moved as (
      select jsonb_build_object('onHand', sum(on_hand), 'reserved', sum(reserved), 'committed', sum(committed)) as ledger
      from warehouse.stock_ledger where sku = ${sku}
    ), held as (
      select coalesce(sum(quantity) filter (where status = 'fulfilled'), 0)::int as allocated,
        coalesce(sum(quantity) filter (where status = 'active'), 0)::int as claimed
      from warehouse.reservation_lines where sku = ${sku}
    )
    select counters.stock, moved.ledger, held.allocated, held.claimed,
      (select coalesce(sum(quantity) filter (where status = 'confirmed'), 0)::int from bought) as sold,
      (select coalesce(jsonb_agg(id) filter (where status = 'confirmed'), '[]') from bought) as orders,
      (select count(*) filter (where status <> 'confirmed')::int from bought) as unfinished,
      (select count(*)::int from bought b join payment.payments p on p.id = b.id
        where b.status = 'confirmed' and p.status = 'captured' and p.captured = b.total_amount and p.refunded = 0) as captured,
      (select count(*)::int from wanted w join payment.payments p on p.id = w.id
        where not exists (select from bought b where b.id = w.id and b.status = 'confirmed')) as "strayPayments"
    from counters, moved, held`
  return yield* Effect.orDie(decodeBooks(row))
})

/** What of a sale is not as it must be. */
export const violationsOf = ({
  books,
  buyers,
  ledger,
  report,
  units
}: {
  readonly buyers: number
  readonly units: number
  readonly report: Pick<Extract<Report, { readonly _tag: "Confirmed" }>, "confirmed" | "refusals">
  readonly books: Books
  /** Whether the ledger must tell the same. */
  readonly ledger: boolean
}): ReadonlyArray<string> => {
  const sold = Math.min(units, buyers)
  const { OutOfStock: refused = 0, ...others } = report.refusals
  const heard = new Set(report.confirmed.map(({ checkoutId }) => checkoutId))
  const must = (right: boolean, sentence: string) => (right ? [] : [sentence])
  const counters = ({ committed, onHand, reserved }: Books["stock"]) =>
    `${onHand} on hand, ${reserved} reserved, ${committed} committed`
  const expected = { onHand: units, reserved: 0, committed: sold }
  const same = (found: Books["stock"]) =>
    found.onHand === expected.onHand && found.reserved === expected.reserved && found.committed === expected.committed
  return [
    ...must(heard.size === sold, `${heard.size} buyers have heard that they have it, of ${sold}`),
    ...must(refused === buyers - sold, `${refused} buyers have heard OutOfStock, of ${buyers - sold}`),
    ...must(Object.keys(others).length === 0, `buyers have heard something else: ${JSON.stringify(others)}`),
    ...must(books.sold === sold, `${books.sold} units are in confirmed orders, of ${sold}`),
    ...must(
      books.orders.length === heard.size && books.orders.every((id) => heard.has(id)),
      "other buyers have an order than have heard of one"
    ),
    ...must(books.unfinished === 0, `${books.unfinished} orders are not finished`),
    ...must(books.captured === sold, `${books.captured} orders are paid in full, of ${sold}`),
    ...must(books.strayPayments === 0, `${books.strayPayments} payments have no order`),
    ...must(same(books.stock), `stock is ${counters(books.stock)}, and must be ${counters(expected)}`),
    ...must(
      books.allocated === sold && books.claimed === 0,
      `reservations bind ${books.allocated} and hold ${books.claimed}, and must bind ${sold}`
    ),
    ...must(!ledger || same(books.ledger), `the ledger comes to ${counters(books.ledger)}`)
  ]
}
