/** Sends money to sellers. Whoever it is, it knows a transfer by our key, and tells of it again. REQ-ESC-02. */
import { Context, type Effect, Schema } from "effect"
import type { Money } from "../domain/Money.ts"
import type { NotPossible, TransportError } from "./PaymentGateway.ts"

/** Money which is on its way to a seller, or there: our part is done. */
export interface Transfer {
  /** The provider's name of it. */
  readonly reference: string
}

export interface TransferRequest {
  /** Names the transfer for good. */
  readonly key: string
  /** Where it goes, as the provider names it. */
  readonly account: string
  readonly sellerId: string
  readonly amount: Money
}

/**
 * Our key belongs to another transfer there (another amount or account), or to one that was taken back. Money has moved, but not this:
 * neither sending it nor giving it up would be right.
 */
export class TransferConflict extends Schema.TaggedError<TransferConflict>()("TransferConflict", {
  /** Absent where the provider does not say which. */
  reference: Schema.optionalKey(Schema.String)
}) {}

export class PayoutGateway extends Context.Service<
  PayoutGateway,
  {
    /**
     * The same key is the same transfer only for a day: whoever is not sure looks for it first. `NotPossible` is a refusal for good, by
     * which nothing was sent.
     */
    readonly send: (
      request: TransferRequest
    ) => Effect.Effect<Transfer, NotPossible | TransferConflict | TransportError>
    /** The transfer which was sent with this key, however long ago; undefined when there is none. Passes an open breaker as a probe. */
    readonly find: (request: TransferRequest) => Effect.Effect<Transfer | undefined, TransferConflict | TransportError>
  }
>()("cartwright/gateways/PayoutGateway") {}
