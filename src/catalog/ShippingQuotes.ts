/** What sending a cart costs. Whoever quotes, the answer comes within the time limit or is refused by name. REQ-CHK-04, N-003. */
import { Context, Duration, Effect, Layer, Schema } from "effect"
import type { Address } from "../domain/Address.ts"
import { Amount, Currency, Money } from "../domain/Money.ts"
import { ServiceTimeout } from "../domain/Refusals.ts"
import { withTimeLimit } from "../domain/TimeLimit.ts"
import type { PricedLine } from "./Totals.ts"

export const ShippingMethod = Schema.Literals(["standard", "express"])
export type ShippingMethod = typeof ShippingMethod.Type

/** Nobody carries to this address by this method for a price in this currency. */
export class NoShippingQuote extends Schema.TaggedError<NoShippingQuote>()(
  "NoShippingQuote",
  { method: ShippingMethod, country: Schema.String, currency: Currency },
  { httpApiStatus: 422 }
) {}

export interface QuoteRequest {
  /** Checked by the rules of its country beforehand. REQ-CHK-08. */
  readonly address: Address
  readonly currency: Currency
  readonly lines: ReadonlyArray<PricedLine>
  readonly method: ShippingMethod
}

type Quote = (request: QuoteRequest) => Effect.Effect<Money, NoShippingQuote>

export class ShippingQuotes extends Context.Service<
  ShippingQuotes,
  { readonly quote: (request: QuoteRequest) => Effect.Effect<Money, NoShippingQuote | ServiceTimeout> }
>()("cartwright/catalog/ShippingQuotes") {
  /** The only way to make one: so that no quote is without a time limit. */
  static readonly make = (quote: Quote, timeLimit: Duration.Duration = defaultTimeLimit): ShippingQuotes["Service"] =>
    ShippingQuotes.of({
      quote: Effect.fn("ShippingQuotes.quote")((request) =>
        withTimeLimit(timeLimit, () =>
          Effect.fail(new ServiceTimeout({ service: "shipping", afterMs: Math.round(Duration.toMillis(timeLimit)) }))
        )(quote(request))
      )
    })

  /** One price a currency and method, whatever is in the cart and wherever it goes. */
  static readonly layerFlat = (rates: FlatRates, timeLimit?: Duration.Duration): Layer.Layer<ShippingQuotes> =>
    Layer.sync(ShippingQuotes, () =>
      ShippingQuotes.make(({ address, currency, method }) => {
        const amount = rates[currency]?.[method]
        return amount === undefined
          ? Effect.fail(new NoShippingQuote({ method, country: address.country, currency }))
          : Effect.succeed({ amount, currency })
      }, timeLimit)
    )
}

/** Minor units by currency and method, e.g. `{"EUR":{"standard":"490","express":"1290"}}` as a setting. */
export const FlatRates = Schema.Record(
  Currency,
  Schema.Struct({ standard: Amount, express: Schema.optionalKey(Amount) })
)
export type FlatRates = typeof FlatRates.Type

/** N-003. */
const defaultTimeLimit = Duration.seconds(8)
