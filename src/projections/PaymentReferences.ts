/** Which payment an authorization at the provider belongs to: read from the payments themselves, by their unique column. */
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { CheckoutId } from "../domain/Ids.ts"
import { Unavailable } from "../domain/Refusals.ts"
import type { ProviderReference } from "../entities/providerEvent/ProviderEvent.ts"

export class PaymentReferences extends Context.Service<
  PaymentReferences,
  {
    /** Of the payment which stands on this authorization now; undefined for an earlier attempt's, or somebody else's. */
    readonly paymentOf: (authorization: ProviderReference) => Effect.Effect<CheckoutId | undefined, Unavailable>
  }
>()("cartwright/projections/PaymentReferences") {
  static readonly layer: Layer.Layer<PaymentReferences, never, SqlClient> = Layer.effect(
    PaymentReferences,
    Effect.map(SqlClient, (sql) => {
      const unavailable = new Unavailable({ retryAfterMs: 1000 })
      return PaymentReferences.of({
        paymentOf: (authorization) =>
          sql<{ readonly id: CheckoutId }>`select id from payment.payments where intent = ${authorization}`.pipe(
            Effect.map(([row]) => row?.id),
            Effect.mapError(() => unavailable),
            Effect.timeoutOrElse({ duration: Duration.seconds(5), orElse: () => Effect.fail(unavailable) })
          )
      })
    })
  )
}
