/**
 * A `PayoutGateway` for a provider which speaks Stripe's protocol: transfers to connected accounts. Each is in a group of its own, named by
 * our key, since keys are forgotten after a day and groups are not.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import type Stripe from "stripe"
import { NotPossible, OutcomeUnknown, type PaymentGatewayLimits } from "./PaymentGateway.ts"
import { PayoutGateway, type Transfer, TransferConflict, type TransferRequest } from "./PayoutGateway.ts"
import * as ProviderGuard from "./ProviderGuard.ts"
import { explain, healthOf, notDeclinable, onceFree, type StripeFailure, toProviderAmount } from "./StripeProtocol.ts"

/** Carries calls to the provider. */
export interface PayoutTransport {
  readonly transfer: (params: Stripe.TransferCreateParams, key: string) => Effect.Effect<StripeTransfer, StripeFailure>
  readonly transfers: (
    params: Stripe.TransferListParams
  ) => Effect.Effect<{ readonly data: ReadonlyArray<StripeTransfer> }, StripeFailure>
}

/** What we read of a transfer. */
export type StripeTransfer = Pick<Stripe.Transfer, "id" | "amount" | "amount_reversed" | "currency" | "destination">

/** The transfer, if it is the one that was asked for. */
const checked = (
  { account, amount }: TransferRequest,
  { amount: sent, amount_reversed: takenBack, currency, destination, id }: StripeTransfer
): Effect.Effect<Transfer, TransferConflict> => {
  const there = destination === null || typeof destination === "string" ? destination : destination.id
  const same =
    sent === toProviderAmount(amount) &&
    currency.toUpperCase() === amount.currency &&
    there === account &&
    takenBack === 0
  return same ? Effect.succeed({ reference: id }) : Effect.fail(new TransferConflict({ reference: id }))
}

export const make = Effect.fnUntraced(function* (options: {
  readonly transport: PayoutTransport
  readonly limits: PaymentGatewayLimits
}): Effect.fn.Return<PayoutGateway["Service"], never, Scope.Scope> {
  const { limits, transport } = options
  const guard = yield* ProviderGuard.make<StripeFailure>({
    name: "payout",
    limits,
    onTimeout: { _tag: "TimedOut" },
    healthOf
  })

  const span = (operation: string) => Effect.withSpan(`PayoutGateway.${operation}`, {}, { captureStackTrace: false })

  return PayoutGateway.of({
    send: (request) => {
      const { account, amount, key, sellerId } = request
      return guard
        .call(
          "transfer",
          transport.transfer(
            {
              amount: toProviderAmount(amount),
              currency: amount.currency.toLowerCase(),
              destination: account,
              transfer_group: key,
              metadata: { seller: sellerId }
            },
            key
          )
        )
        .pipe(
          onceFree,
          Effect.catch((failure) => explain("transfer", failure, limits.timeout)),
          Effect.catchTag("Declined", notDeclinable),
          Effect.catchTag("NotPossible", ({ code }) =>
            Effect.fail(code === keyMisused ? new TransferConflict({}) : new NotPossible({ code }))
          ),
          Effect.flatMap((transfer) => checked(request, transfer)),
          span("transfer")
        )
    },
    find: (request) =>
      guard.probe("list_transfers", transport.transfers({ transfer_group: request.key, limit: 1 })).pipe(
        Effect.catch((failure) => explain("list_transfers", failure, limits.timeout)),
        Effect.catchTag("Declined", notDeclinable),
        // That it may not be looked up says nothing about whether it was sent.
        Effect.catchTag("NotPossible", () => Effect.fail(new OutcomeUnknown({ service: "payment" }))),
        Effect.flatMap(({ data: [found] }) =>
          found === undefined ? Effect.succeed(undefined) : checked(request, found)
        ),
        span("list_transfers")
      )
  })
})

/** As `explain` says of a key that came with other parameters. */
const keyMisused = "idempotency_error"
