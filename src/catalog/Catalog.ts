/** Products, prices and what can be sold, as carts and checkouts read them: one bulk read a cart, whatever its size. REQ-CHK-05. */
import {
  Array,
  Cache,
  Context,
  Duration,
  Effect,
  Exit,
  Latch,
  Layer,
  Request,
  RequestResolver,
  Schedule,
  Schema
} from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { SellerId, Sku } from "../domain/Ids.ts"
import { Currency } from "../domain/Money.ts"
import { withTimeLimit } from "../domain/TimeLimit.ts"
import * as CatalogQueries from "./CatalogQueries.ts"
import { type Page, type PageRequest, Product, maxPageSize, wordsOf } from "./Product.ts"

/** The catalog did not answer in time, or its database is away. Never shown as missing products or a stock of zero. REQ-CHK-06. */
export class CatalogUnavailable extends Schema.TaggedError<CatalogUnavailable>()(
  "CatalogUnavailable",
  { retryAfter: Schema.Duration },
  { httpApiStatus: 503 }
) {}

export class Catalog extends Context.Service<
  Catalog,
  {
    /**
     * What is known of these skus, with prices in `currency`; unknown skus are absent. Calls which come while a read is under way
     * share the next one, and every read begins after the call which it answers.
     */
    readonly products: (
      skus: ReadonlyArray<Sku>,
      currency: Currency
    ) => Effect.Effect<ReadonlyMap<Sku, Product>, CatalogUnavailable>
    /** In which currencies anything has a price, in alphabetical order; up to `currenciesFor` old. */
    readonly currencies: Effect.Effect<ReadonlyArray<Currency>, CatalogUnavailable>
    /** Active products with a price in the currency, by name, a page at a time. */
    readonly page: (request: PageRequest) => Effect.Effect<Page, CatalogUnavailable>
  }
>()("cartwright/catalog/Catalog") {
  static readonly layer: Layer.Layer<Catalog, never, SqlClient> = Layer.effect(
    Catalog,
    Effect.suspend(() => make)
  )

  /** For tests: what `entries` holds at the moment of each call, so that a test may change a price in between. */
  static readonly layerMemory = (entries: ReadonlyArray<CatalogEntry>): Layer.Layer<Catalog> =>
    Layer.sync(Catalog, () => makeMemory(entries))
}

/** How long the catalog may take, and how old its list of currencies may be. */
export interface CatalogLimits {
  readonly timeLimit: Duration.Duration
  readonly currenciesFor: Duration.Duration
  readonly retryAfter: Duration.Duration
}

/** N-002; the others are chosen. */
export const CatalogLimits = Context.Reference<CatalogLimits>("cartwright/catalog/CatalogLimits", {
  defaultValue: () => ({
    timeLimit: Duration.seconds(10),
    currenciesFor: Duration.seconds(5),
    retryAfter: Duration.seconds(1)
  })
})

/** A product of the catalog in memory, with its prices by currency. */
export interface CatalogEntry {
  readonly sku: Sku
  readonly name: string
  readonly category: string
  readonly active: boolean
  readonly taxable: boolean
  readonly version: number
  readonly sellerId?: SellerId
  readonly sellable: number
  readonly prices: Readonly<Record<string, { readonly amount: bigint; readonly version: number }>>
}

class Read extends Request.Class<
  { readonly skus: ReadonlyArray<Sku>; readonly currency: Currency },
  ReadonlyMap<Sku, Product>,
  CatalogUnavailable
> {}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const limits = yield* CatalogLimits
  const queries = yield* CatalogQueries.make
  const unavailable = Effect.suspend(() => Effect.fail(new CatalogUnavailable({ retryAfter: limits.retryAfter })))

  const limited = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | CatalogUnavailable> =>
    withTimeLimit(limits.timeLimit, () => unavailable)(effect)

  // A shared read has no owner, so it must not run in the transaction of the caller who happened to come first.
  const answered = <A>(query: Effect.Effect<A, SqlError>): Effect.Effect<A, CatalogUnavailable> =>
    query.pipe(
      Effect.retry({ while: isFault, schedule: retrySchedule }),
      Effect.catchIf(
        isFault,
        () => unavailable,
        (bug) => Effect.die(bug)
      ),
      limited,
      Effect.updateContext(Context.omit(sql.transactionService))
    )

  // Without the latch each call in a busy process is a statement of its own, since no two arrive in the same tick.
  const idle = yield* Latch.make(true)
  const readTogether = Effect.fnUntraced(function* (entries: Array.NonEmptyArray<Request.Entry<Read>>) {
    const wanted = new Map<string, CatalogQueries.Asked>()
    for (const { request } of entries) {
      for (const sku of request.skus) {
        wanted.set(`${request.currency} ${sku}`, { sku, currency: request.currency })
      }
    }
    const found = yield* Effect.forEach(
      Array.chunksOf(wanted.values(), maxPageSize),
      (asked) => answered(queries.products(asked)),
      { concurrency: statementsAtOnce }
    )
    const known = new Map(found.flat().map(({ currency, product }) => [`${currency} ${product.sku}`, product]))
    for (const entry of entries) {
      const { currency, skus } = entry.request
      const products = skus.flatMap((sku) => known.get(`${currency} ${sku}`) ?? [])
      entry.completeUnsafe(Exit.succeed(new Map(products.map((product) => [product.sku, product]))))
    }
  })
  const resolver = RequestResolver.make<Read>((entries) =>
    Effect.andThen(idle.close, limited(readTogether(entries))).pipe(Effect.andThen(pause), Effect.ensuring(idle.open))
  ).pipe(
    RequestResolver.setDelayEffect(Effect.andThen(Effect.yieldNow, idle.await)),
    RequestResolver.withSpan("Catalog.read")
  )

  const currencies = yield* Cache.makeWith((_: "all") => answered(queries.currencies), {
    capacity: 1,
    timeToLive: (exit) => (Exit.isSuccess(exit) ? limits.currenciesFor : 0)
  })

  return Catalog.of({
    products: Effect.fn("Catalog.products")((skus, currency) =>
      limited(Effect.request(new Read({ skus, currency }), resolver))
    ),
    currencies: Cache.get(currencies, "all").pipe(Effect.withSpan("Catalog.currencies")),
    page: Effect.fn("Catalog.page")((request) => answered(queries.page(request)))
  })
})

/** How many statements one shared read may run side by side. */
const statementsAtOnce = 4

/**
 * The least time between two shared reads. At 1,000 reads a second evenly spread it makes 0.25 statements a read out of 0.59; a lone
 * call never waits for it. Real time on purpose: it spares the database, and must pass in tests which stop the clock.
 */
const pause = Effect.callback<void>((resume) => {
  const timer = setTimeout(() => resume(Effect.void), 3)
  return Effect.sync(() => clearTimeout(timer))
})

/** A fault passes, e.g. a database that restarts; anything else is a bug of ours and dies. */
const isFault = (error: SqlError): boolean => error.isRetryable || error.reason._tag === "UnknownError"

const retrySchedule = Schedule.exponential("50 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 3 }))

const makeMemory = (entries: ReadonlyArray<CatalogEntry>): Catalog["Service"] => {
  const productOf = ({ prices, ...product }: CatalogEntry, currency: Currency): Product => {
    const price = prices[currency]
    return price === undefined
      ? product
      : { ...product, price: { unit: { amount: price.amount, currency }, version: price.version } }
  }
  return Catalog.of({
    products: (skus, currency) =>
      Effect.sync(() => {
        const found = entries.filter((entry) => skus.includes(entry.sku))
        return new Map(found.map((entry) => [entry.sku, productOf(entry, currency)]))
      }),
    currencies: Effect.sync(() => [
      ...new Set(
        entries
          .flatMap((entry) => Object.keys(entry.prices))
          .map((code) => Currency.make(code))
          .toSorted()
      )
    ]),
    page: (request) =>
      Effect.sync(() => {
        const limit = request.limit ?? maxPageSize
        const words = wordsOf(request.search ?? "")
        const matching = entries
          .filter((entry) => entry.active && entry.prices[request.currency] !== undefined)
          .filter((entry) => request.category === undefined || entry.category === request.category)
          .filter((entry) => {
            const own = wordsOf(`${entry.name} ${entry.category} ${entry.sku}`)
            return words.every((word) => own.some((one) => one.startsWith(word)))
          })
          .toSorted((one, other) => compare([one.name, one.sku], [other.name, other.sku]))
          .filter((entry) => request.after === undefined || compare([entry.name, entry.sku], request.after) > 0)
        const products = matching.slice(0, limit).map((entry) => productOf(entry, request.currency))
        const last = products.at(-1)
        return matching.length > limit && last !== undefined ? { products, next: [last.name, last.sku] } : { products }
      })
  })
}

const compare = (one: readonly [string, string], other: readonly [string, string]): number => {
  const [left, right] = one[0] === other[0] ? [one[1], other[1]] : [one[0], other[0]]
  return left < right ? -1 : left > right ? 1 : 0
}
