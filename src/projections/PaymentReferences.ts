/** Which payment an authorization at the provider, or a bank transfer, belongs to: read from the payments themselves, by unique columns. */
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { CheckoutId } from "../domain/Ids.ts"
import { Unavailable } from "../domain/Refusals.ts"
import type { TransferReference } from "../domain/TransferReference.ts"
import type { ReceiptId } from "../entities/payment/Receipt.ts"
import type { ProviderNews, ProviderReference } from "../entities/providerEvent/ProviderEvent.ts"

export class PaymentReferences extends Context.Service<
  PaymentReferences,
  {
    /** Of the payment which stands on this authorization now; undefined for an earlier attempt's, or somebody else's. */
    readonly paymentOf: (authorization: ProviderReference) => Effect.Effect<CheckoutId | undefined, Unavailable>
    /** Where an event of the provider's lives: with its payment, or on its own; undefined for one which was never kept. */
    readonly eventOf: (
      event: Pick<ProviderNews, "eventId" | "provider">
    ) => Effect.Effect<{ readonly payment: CheckoutId | null } | undefined, Unavailable>
    /** Of the payment which a transfer with this reference is for. */
    readonly paymentReferredTo: (reference: TransferReference) => Effect.Effect<CheckoutId | undefined, Unavailable>
    /** What is known of a transfer, by the bank's id of it. */
    readonly transferOf: (
      receipt: ReceiptId
    ) => Effect.Effect<{ readonly payment: CheckoutId; readonly amount: bigint } | undefined, Unavailable>
  }
>()("cartwright/projections/PaymentReferences") {
  static readonly layer: Layer.Layer<PaymentReferences, never, SqlClient> = Layer.effect(
    PaymentReferences,
    Effect.map(SqlClient, (sql) => {
      const unavailable = new Unavailable({ retryAfterMs: 1000 })
      const asked = <A, E>(query: Effect.Effect<ReadonlyArray<A>, E>): Effect.Effect<A | undefined, Unavailable> =>
        query.pipe(
          Effect.map(([row]) => row),
          Effect.mapError(() => unavailable),
          Effect.timeoutOrElse({ duration: Duration.seconds(5), orElse: () => Effect.fail(unavailable) })
        )
      return PaymentReferences.of({
        paymentOf: (authorization) =>
          asked(sql<{ readonly id: CheckoutId }>`select id from payment.payments where intent = ${authorization}`).pipe(
            Effect.map((row) => row?.id)
          ),
        eventOf: ({ eventId, provider }) =>
          asked(
            sql<{ readonly payment: CheckoutId | null }>`
              select payment_id as payment from payment.provider_events
              where provider = ${provider} and event_id = ${eventId}`
          ),
        paymentReferredTo: (reference) =>
          asked(
            sql<{ readonly id: CheckoutId }>`select id from payment.payments where transfer_reference = ${reference}`
          ).pipe(Effect.map((row) => row?.id)),
        transferOf: (receipt) =>
          asked(
            sql<{ readonly payment: CheckoutId; readonly amount: string }>`
              select order_id as payment, amount::text as amount from payment.bank_transfers where id = ${receipt}`
          ).pipe(
            Effect.map((row) => (row === undefined ? undefined : { payment: row.payment, amount: BigInt(row.amount) }))
          )
      })
    })
  )
}
