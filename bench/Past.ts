/**
 * What shops have behind them: any number of checkouts, made from a few real ones. Every row in which a real checkout's ids stand is
 * multiplied by set-based SQL, into the same tables with all their constraints, under ids and at times of its own. So the past looks like
 * what the nodes of this version leave behind, whatever that is.
 */
import { randomUUID } from "node:crypto"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { OrderId, orderNumberOf } from "../src/domain/Ids.ts"
import { bucketOf } from "../src/runtime/Placement.ts"
import type { Checkout, Finished } from "./LoadOrders.ts"
import type { ProcessFailed } from "./Processes.ts"
import { secret, type Stage, type Subject } from "./Stage.ts"

export interface PastOptions {
  /** How many checkouts. */
  readonly count: number
  /** Whether they have been confirmed; the others wait for their customers to do so, and their timers with them. */
  readonly confirmed: boolean
  /** Customers they belong to: the load generator's, or so many others. */
  readonly owners: "customers" | number
  /** How long ago the oldest one was, in hours; the others lie evenly between then and now. */
  readonly hours: number
}

export interface Past {
  /** The real checkouts it was made from. */
  readonly models: ReadonlyArray<Checkout>
  readonly made: ReadonlyArray<Finished>
}

/** Real checkouts to take after, one a customer of the load generator. */
const modelsOfEach = 20

/** Makes a past of several parts in the subject's database. */
export const make = Effect.fn("Past.make")(function* (
  stage: Stage,
  subject: Subject,
  parts: ReadonlyArray<PastOptions>
): Effect.fn.Return<ReadonlyArray<Past>, ProcessFailed | SqlError> {
  const found = yield* Effect.forEach(parts, (part) =>
    Effect.map(modelsFor(stage, subject, part), (models) => ({ part, models }))
  )
  return yield* Effect.gen(function* () {
    const tables = yield* tablesOf
    // Looked up before there are many rows to look through.
    const known = yield* Effect.forEach(found, ({ models, part }) =>
      Effect.map(
        Effect.forEach(models, (model) => Effect.map(rowsOf(tables, model), (rows) => ({ model, rows }))),
        (all) => ({ part, models, all })
      )
    )
    const sql = yield* SqlClient
    yield* sql`create schema bench`
    yield* sql`
      create unlogged table bench.checkouts (
        model int not null, n int not null, id text not null, cart text not null, number text not null, intent text not null,
        owner text not null, bucket int not null, cart_bucket int not null, age interval not null
      )`
    yield* sql`create index on bench.checkouts (model, n)`
    const past = yield* Effect.forEach(known, ({ all, models, part }) =>
      Effect.map(multiply(all, part), (made) => ({ models, made }))
    )
    yield* sql`drop schema bench cascade`
    yield* sql`analyze`
    yield* sql`checkpoint`
    return past
  }).pipe(Effect.provide(connections(subject)))
})

/** As many as such machines have processors for. What they write is written once for good: nobody waits for the disk. */
const connections = ({ database }: Subject) =>
  PgClient.layer({
    url: database,
    maxConnections: parallel,
    startupParameters: { synchronous_commit: "off", jit: "off" }
  })

const parallel = 2

const modelsFor = Effect.fnUntraced(function* (stage: Stage, subject: Subject, { confirmed }: PastOptions) {
  const visit = { urls: subject.urls, secret }
  const { checkouts } = yield* stage.ask({
    _tag: "Prepare",
    ...visit,
    customers: modelsOfEach,
    checkouts: modelsOfEach,
    basket: { _tag: "TwoOf", skus: stage.skus },
    seed: 1
  })
  if (confirmed) {
    const { refusals } = yield* stage.ask({ _tag: "Confirm", ...visit, checkouts })
    if (Object.keys(refusals).length > 0) return yield* stage.load.fail(`was refused: ${JSON.stringify(refusals)}`)
  }
  yield* subject.settled
  return checkouts
})

interface Model {
  readonly model: Checkout
  readonly rows: ReadonlyArray<Table & { readonly rows: ReadonlyArray<ReadonlyArray<string | null>> }>
}

const multiply = Effect.fnUntraced(function* (models: ReadonlyArray<Model>, options: PastOptions) {
  const sql = yield* SqlClient
  // Random ids, as real ones are, but rows in their order: an index is then filled from front to back.
  const ids = Array.from({ length: options.count }, () => randomUUID()).toSorted()
  const made = yield* Effect.forEach(
    models,
    Effect.fnUntraced(function* ({ model, rows }, index) {
      const from = Math.floor((index * ids.length) / models.length)
      const until = Math.floor(((index + 1) * ids.length) / models.length)
      const copies = yield* Effect.forEach(pagesOf(from, until), (page) => name(index, model, ids, page, options))
      const tokens = yield* tokensOf(model)
      for (const { columns, rows: texts, table } of rows) {
        const names = columns.map((column) => `"${column.name}"`).join(", ")
        const values = texts.map(
          (row) => `(${row.map((text, at) => expression(columns[at]!, text, tokens)).join(", ")})`
        )
        yield* sql.unsafe(
          `insert into ${table} (${names}) select r.* from (select * from bench.checkouts where model = ${index} order by n) c
           cross join lateral (values ${values.join(", ")}) r (${names})${table === "runtime.history" ? ` where ${remembered}` : ""}`
        )
      }
      yield* sql`delete from bench.checkouts where model = ${index}`
      return copies.flat()
    }),
    { concurrency: parallel }
  )
  // Counters stay the sum of what was claimed; in turn, since models may share a product.
  for (const [index, { model }] of models.entries()) {
    yield* sql`
      update warehouse.stock s set on_hand = s.on_hand + l.units, committed = s.committed + l.units from (
        select sku, warehouse_id, sum(quantity) * ${made[index]!.length}::int as units from warehouse.reservation_lines
        where order_id = ${model.checkoutId} and status = 'fulfilled' group by 1, 2
      ) l where s.sku = l.sku and s.warehouse_id = l.warehouse_id`
  }
  return made.flat()
})

/** Carts and checkouts which are over are forgotten after 30 days, unless a node is told otherwise; the rest is a record. */
const remembered = `not (r.actor_type in ('Cart', 'CheckoutSession') and c.age > interval '30 days')`

const pageSize = 20_000

const pagesOf = (from: number, until: number): ReadonlyArray<{ readonly from: number; readonly until: number }> =>
  Array.from({ length: Math.ceil((until - from) / pageSize) }, (_, page) => ({
    from: from + page * pageSize,
    until: Math.min(until, from + (page + 1) * pageSize)
  }))

/** Says how copies of a model are called, whose they are and how old. */
const name = Effect.fnUntraced(function* (
  model: number,
  { customer }: Checkout,
  ids: ReadonlyArray<string>,
  { from, until }: { readonly from: number; readonly until: number },
  { hours, owners }: PastOptions
) {
  const sql = yield* SqlClient
  const copies = Array.from({ length: until - from }, (_, index) => {
    const n = from + index
    const id = ids[n]!
    const cart = randomUUID()
    return {
      model,
      n,
      id,
      cart,
      number: orderNumberOf(OrderId.make(id)),
      intent: `pi_${id.replaceAll("-", "")}`,
      owner: owners === "customers" ? `bench-customer-${customer}` : `past-customer-${(n * 7919) % owners}`,
      bucket: bucketOf(id, buckets),
      cart_bucket: bucketOf(cart, buckets),
      age: `${Math.round(((ids.length - n) / ids.length) * hours * 3600)} seconds`
    }
  })
  yield* sql`
    insert into bench.checkouts select * from jsonb_to_recordset(${JSON.stringify(copies)}::text::jsonb)
    as x(model int, n int, id text, cart text, number text, intent text, owner text, bucket int, cart_bucket int, age interval)`
  return copies.map(({ id, number }): Finished => ({ customer, checkoutId: id, number }))
})

/** Of a node which was told nothing else. */
const buckets = 128

// ---- rows of a model

interface Column {
  readonly name: string
  readonly type: string
}

interface Table {
  readonly table: string
  readonly columns: ReadonlyArray<Column>
}

const decodeTables = Schema.decodeUnknownEffect(
  Schema.Array(
    Schema.Struct({
      table: Schema.String,
      columns: Schema.Array(Schema.Struct({ name: Schema.String, type: Schema.String }))
    })
  )
)

/** All tables of the shop, with the columns which one can write. */
const tablesOf = Effect.gen(function* () {
  const sql = yield* SqlClient
  const rows = yield* sql`
    select format('%I.%I', n.nspname, c.relname) as table,
      (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) order by a.attnum)
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = '') as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'public', 'ops', 'catalog')
    order by 1`
  return yield* Effect.orDie(decodeTables(rows))
})

/** Every row in which the model's ids stand, each column as text. */
const rowsOf = Effect.fnUntraced(function* (tables: ReadonlyArray<Table>, { cartId, checkoutId }: Checkout) {
  const sql = yield* SqlClient
  const found = yield* Effect.forEach(tables, ({ columns, table }) =>
    Effect.map(
      sql.unsafe<{ row: ReadonlyArray<string | null> }>(
        `select array[${columns.map((column) => `"${column.name}"::text`).join(", ")}] as row from ${table} t
         where position($1 in t::text) > 0 or position($2 in t::text) > 0`,
        [checkoutId, cartId]
      ),
      (rows) => ({ table, columns, rows: rows.map(({ row }) => row) })
    )
  )
  return found.filter(({ rows }) => rows.length > 0)
})

/** What names a model, and the expression for what names a copy. */
type Tokens = ReadonlyArray<readonly [token: string, column: string]>

const tokensOf = Effect.fnUntraced(function* ({ cartId, checkoutId, customer }: Checkout) {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ number: string | null; intent: string | null }>`
    select (select number from orders.orders where id = ${checkoutId}) as number,
      (select intent from payment.payments where id = ${checkoutId}) as intent`
  const tokens: Tokens = [
    [checkoutId, "c.id"],
    [cartId, "c.cart"],
    [`bench-customer-${customer}`, "c.owner"],
    ...(row?.number === null || row === undefined ? [] : [[row.number, "c.number"] as const]),
    ...(row?.intent === null || row === undefined ? [] : [[row.intent, "c.intent"] as const])
  ]
  return tokens
})

/** A copy's value in SQL. */
const expression = ({ name: column, type }: Column, text: string | null, tokens: Tokens): string => {
  if (text === null) return `null::${type}`
  const literal = `'${text.replaceAll("'", "''")}'`
  if (column === "bucket") {
    const cart = bucketOf(tokens[1]![0], buckets)
    return Number(text) === cart && cart !== bucketOf(tokens[0]![0], buckets) ? "c.cart_bucket" : "c.bucket"
  }
  if (type.startsWith("timestamp")) return `${literal}::${type} - c.age`
  const named = tokens.filter(([token]) => text.includes(token))
  if (named.length === 0) return `${literal}::${type}`
  return `${named.reduce((made, [token, by]) => `replace(${made}, '${token}', ${by})`, literal)}::${type}`
}
