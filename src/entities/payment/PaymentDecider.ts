/** Where the money may go next, pure. What the provider said is a command here: the conversation itself stands beside it. */
import { DateTime, Duration, Result, Schema } from "effect"
import { CustomerId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { OfflineMethod } from "../../domain/OfflineMethod.ts"
import { TransferReference } from "../../domain/TransferReference.ts"
import { type Backoff, backoff } from "./Backoff.ts"
import {
  CaptureMode,
  IntentReference,
  PaymentConflict,
  type PaymentState,
  type PaymentStatus,
  type PaymentView,
  type PresentPayment,
  type SagaState,
  sagaTransitions
} from "./Payment.ts"
import {
  decideRefund,
  evolveRefund,
  pendingOf,
  refundCommands,
  refundEvents,
  type RefundLimits,
  type RefundRefusal
} from "./RefundDecider.ts"
import { decideReceipt, evolveReceipt, owedOf, receiptCommands, receiptEvents, receivedOf } from "./ReceiptDecider.ts"
import { refundView } from "./Refund.ts"
import { Sellers } from "./Escrow.ts"
import { beginEscrow, withEscrow } from "./SellerParts.ts"

const offline = { method: Schema.optionalKey(OfflineMethod), transferReference: Schema.optionalKey(TransferReference) }

export const Command = Schema.TaggedUnion({
  /** The intent to take `amount`, before the provider hears of it. */
  Begin: {
    attempt: Schema.Int,
    customerId: CustomerId,
    amount: Amount,
    currency: Currency,
    captureMode: Schema.optionalKey(CaptureMode),
    sellers: Schema.optionalKey(Sellers),
    ...offline
  },
  IntentCreated: { intent: IntentReference },
  /** The customer must prove who they are, within the payment window. */
  ActionRequired: {},
  Authorized: { amount: Amount, holdUntil: Schema.optionalKey(Schema.DateTimeUtc) },
  /** Refused for good, nothing is held. */
  Declined: { code: Schema.String },
  /** Whether something is held is not known; looked into again after a pause. */
  AuthorizationUnknown: {},
  /** It was looked into often enough: a failed compensation stands for it from now on. */
  LeaveToOperator: {},
  StartCapture: {},
  Captured: { amount: Amount },
  /** `definite`: retrying is of no use. `answered`: the provider has stored this failure under its key. */
  CaptureFailed: {
    code: Schema.String,
    definite: Schema.Boolean,
    answered: Schema.Boolean,
    retry: Schema.Boolean
  },
  /** The hold is gone, or never was. */
  Voided: {},
  /** Given back without a record of its own. */
  Refunded: { amount: Amount },
  /** What is held for sellers is theirs. */
  ReleaseEscrow: { by: Schema.optionalKey(CustomerId), reason: Schema.optionalKey(Schema.String) },
  ...refundCommands,
  ...receiptCommands
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Begun: {
    attempt: Schema.Int,
    customerId: CustomerId,
    amount: Amount,
    currency: Currency,
    captureMode: Schema.optionalKey(CaptureMode),
    sellers: Schema.optionalKey(Sellers),
    ...offline
  },
  IntentCreated: { intent: IntentReference },
  ActionRequired: { until: Schema.DateTimeUtc },
  Authorized: { holdUntil: Schema.optionalKey(Schema.DateTimeUtc), ...at },
  Declined: { code: Schema.String },
  AuthorizationUnknown: { nextAttemptAt: Schema.DateTimeUtc },
  LeftToOperator: {},
  CaptureStarted: {},
  Captured: { amount: Amount, ...at },
  CaptureFailed: {
    code: Schema.String,
    definite: Schema.Boolean,
    answered: Schema.Boolean,
    retry: Schema.Boolean
  },
  Voided: {},
  Refunded: { amount: Amount },
  EscrowReleased: { by: Schema.optionalKey(CustomerId), reason: Schema.optionalKey(Schema.String), ...at },
  ...refundEvents,
  ...receiptEvents
})
export type Event = typeof Event.Type

export interface PaymentLimits {
  /** How long a hold lives when the provider gives no date. N-026. */
  readonly holdFor: Duration.Duration
  /** How long the customer may take for the second factor. N-008. */
  readonly paymentWindow: Duration.Duration
  /** Between two looks into an authorization whose outcome is unknown. N-066. */
  readonly resolve: Backoff
  readonly refund: RefundLimits
  /** A deferred capture is made this long before the hold runs out, at the latest. N-067. */
  readonly captureLead: Duration.Duration
}

type Decision = Result.Result<ReadonlyArray<Event>, PaymentConflict | RefundRefusal>

const conflict = (state: PaymentState, command: Command): Decision =>
  Result.fail(
    new PaymentConflict({
      saga: state._tag === "Absent" ? "none" : state.saga,
      status: state._tag === "Absent" ? "absent" : state.status,
      command: command._tag
    })
  )

const may = (from: SagaState, to: SagaState) => sagaTransitions[from].includes(to)

/** Whether an attempt is over with nothing held or taken, so that another may begin. */
export const isClosed = (state: PaymentState): boolean =>
  state._tag === "Absent" || state.status === "failed" || state.status === "voided"

const outcomeUnknown = "outcome_unknown"

/** Whether something may be held that nobody knows of, be it still looked into or left to an operator. */
export const isUnknown = ({ failure, saga, status }: PresentPayment): boolean =>
  saga === "none" && status === "processing" && failure === outcomeUnknown

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: PaymentLimits) =>
  (state: PaymentState, command: Command, { now }: { readonly now: DateTime.Utc }): Decision => {
    if (command._tag === "Begin") {
      if (state._tag === "Present" && state.attempt === command.attempt) return Result.succeed([])
      // One of cash or of a transfer has no second attempt: money may be there which is to be given back.
      if (!isClosed(state) || (state._tag === "Present" && state.method !== undefined)) return conflict(state, command)
      const { amount, attempt, currency, customerId } = command
      // An earlier attempt's keys are used up at the provider; whose payment it is, and in what currency, never changes.
      if (
        state._tag === "Present" &&
        (attempt < state.attempt || customerId !== state.customerId || currency !== state.currency)
      ) {
        return conflict(state, command)
      }
      const { captureMode, method, sellers, transferReference } = command
      // What costs nothing waits for nothing; and a transfer which nobody could match would never be found.
      const matched = (method === "bank_transfer") === (transferReference !== undefined)
      if (!matched || (method !== undefined && amount === 0n)) return conflict(state, command)
      const how = {
        ...(captureMode === undefined ? {} : { captureMode }),
        ...(method === undefined ? {} : { method }),
        ...(sellers === undefined ? {} : { sellers }),
        ...(transferReference === undefined ? {} : { transferReference })
      }
      return Result.succeed([{ _tag: "Begun", attempt, customerId, amount, currency, ...how }])
    }
    if (state._tag === "Absent") return conflict(state, command)
    const { saga, status } = state
    switch (command._tag) {
      case "IntentCreated":
        if (state.intent === command.intent) return Result.succeed([])
        return state.intent === undefined && state.method === undefined && saga === "none" && !isClosed(state)
          ? Result.succeed([{ _tag: "IntentCreated", intent: command.intent }])
          : conflict(state, command)
      case "ActionRequired":
        if (state.actionUntil !== undefined) return Result.succeed([])
        return saga === "none" && state.intent !== undefined && !isClosed(state)
          ? Result.succeed([{ _tag: "ActionRequired", until: DateTime.addDuration(now, limits.paymentWindow) }])
          : conflict(state, command)
      case "Authorized":
        // The hold must be for what was asked: anything else is somebody's mistake, and is not captured.
        if (command.amount !== state.amount) return conflict(state, command)
        if (saga === "authorized") return Result.succeed([])
        if (!may(saga, "authorized") || isClosed(state) || state.method !== undefined) return conflict(state, command)
        return Result.succeed([
          { _tag: "Authorized", at: now, holdUntil: command.holdUntil ?? DateTime.addDuration(now, limits.holdFor) }
        ])
      case "Declined":
        if (status === "failed") return Result.succeed([])
        return saga === "none" && !isClosed(state) && state.method === undefined
          ? Result.succeed([{ _tag: "Declined", code: command.code }])
          : conflict(state, command)
      case "AuthorizationUnknown":
        return saga === "none" && !isClosed(state) && state.method === undefined
          ? Result.succeed([
              {
                _tag: "AuthorizationUnknown",
                nextAttemptAt: DateTime.addDuration(now, backoff(state.resolutions + 1, limits.resolve))
              }
            ])
          : conflict(state, command)
      case "LeaveToOperator":
        if (!isUnknown(state)) return conflict(state, command)
        return Result.succeed(state.nextAttemptAt === undefined ? [] : [{ _tag: "LeftToOperator" }])
      case "StartCapture":
        if (saga === "capture_pending") return Result.succeed([])
        return may(saga, "capture_pending") ? Result.succeed([{ _tag: "CaptureStarted" }]) : conflict(state, command)
      case "Captured":
        if (command.amount !== state.amount) return conflict(state, command)
        if (saga === "captured" || saga === "refunded") return Result.succeed([])
        // What the provider takes it takes from a hold.
        return saga !== "none" && may(saga, "captured")
          ? Result.succeed([{ _tag: "Captured", amount: command.amount, at: now }])
          : conflict(state, command)
      case "CaptureFailed":
        if (!may(saga, "capture_failed")) return conflict(state, command)
        return Result.succeed([
          {
            _tag: "CaptureFailed",
            code: command.code,
            definite: command.definite,
            answered: command.answered,
            retry: command.retry
          }
        ])
      case "Voided":
        if (saga === "voided") return Result.succeed([])
        return may(saga, "voided") ? Result.succeed([{ _tag: "Voided" }]) : conflict(state, command)
      case "Refunded": {
        const refunded = state.refunded + command.amount
        return (saga === "captured" || saga === "refunded") &&
          state.method === undefined &&
          command.amount > 0n &&
          refunded + pendingOf(state) <= state.captured
          ? Result.succeed([{ _tag: "Refunded", amount: command.amount }])
          : conflict(state, command)
      }
      case "ReleaseEscrow": {
        const { escrow } = state
        if (escrow === undefined || escrow.releasedAt !== undefined || state.amount === 0n) return Result.succeed([])
        if (saga !== "captured" && saga !== "refunded") return conflict(state, command)
        return Result.succeed([{ ...command, _tag: "EscrowReleased", at: now }])
      }
      case "RequestRefund":
      case "StartRefund":
      case "RefundTryFailed":
      case "RefundReported":
      case "RefundAwaited":
      case "ChargebackReported": {
        const decided = decideRefund(limits.refund, state, command, now)
        if (Result.isSuccess(decided)) return Result.succeed(decided.success)
        return decided.failure === "misfit" ? conflict(state, command) : Result.fail(decided.failure)
      }
      case "RecordReceipt":
      case "RecordGivenBack": {
        const decided = decideReceipt(state, command, now)
        if (Result.isSuccess(decided)) return Result.succeed(decided.success)
        return decided.failure === "misfit" ? conflict(state, command) : Result.fail(decided.failure)
      }
    }
  }

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: PaymentState, event: Event): PaymentState => withEscrow(moved(state, event))

const moved = (state: PaymentState, event: Event): PaymentState => {
  if (event._tag === "Begun") {
    const { amount, attempt, captureMode, currency, customerId, method, sellers, transferReference } = event
    return {
      _tag: "Present",
      attempt,
      customerId,
      amount,
      currency,
      status: "pending",
      saga: "none",
      captureKey: 1,
      captureRetryCount: 0,
      captureRefused: false,
      captured: 0n,
      refunded: 0n,
      resolutions: 0,
      ...(captureMode === undefined ? {} : { captureMode }),
      ...(sellers === undefined ? {} : { escrow: beginEscrow(sellers) }),
      ...(method === undefined ? {} : { method }),
      ...(transferReference === undefined ? {} : { transferReference })
    }
  }
  if (state._tag === "Absent") return state
  const { nextAttemptAt: _, actionUntil, ...rest } = state
  const waiting = actionUntil === undefined ? {} : { actionUntil }
  switch (event._tag) {
    case "IntentCreated":
      return { ...rest, ...waiting, intent: event.intent, status: "processing" }
    case "ActionRequired":
      return { ...rest, actionUntil: event.until, status: "processing" }
    case "Authorized":
      return {
        ...rest,
        status: "authorized",
        saga: "authorized",
        authorizedAt: event.at,
        ...(event.holdUntil === undefined ? {} : { holdUntil: event.holdUntil })
      }
    case "Declined":
      return { ...rest, status: "failed", failure: event.code }
    case "AuthorizationUnknown":
      return {
        ...rest,
        status: "processing",
        nextAttemptAt: event.nextAttemptAt,
        resolutions: state.resolutions + 1,
        failure: outcomeUnknown
      }
    case "LeftToOperator":
      return rest
    case "CaptureStarted":
      return { ...rest, status: "processing", saga: "capture_pending" }
    case "Captured":
      return { ...rest, status: "captured", saga: "captured", captured: event.amount, capturedAt: event.at }
    case "CaptureFailed":
      return {
        ...rest,
        status: "processing",
        saga: "capture_failed",
        failure: event.code,
        captureKey: state.captureKey + (event.answered ? 1 : 0),
        captureRetryCount: state.captureRetryCount + (event.retry ? 1 : 0),
        captureRefused: event.definite
      }
    case "Voided":
      return { ...rest, status: "voided", saga: "voided" }
    case "Refunded": {
      const refunded = state.refunded + event.amount
      const all = refunded === state.captured
      return { ...rest, refunded, status: all ? "refunded" : "partially_refunded", saga: all ? "refunded" : "captured" }
    }
    case "EscrowReleased": {
      const { escrow } = state
      return escrow === undefined
        ? state
        : { ...state, escrow: { ...escrow, revision: escrow.revision + 1, releasedAt: event.at } }
    }
    case "RefundRequested":
    case "RefundStarted":
    case "RefundPending":
    case "RefundCompleted":
    case "RefundFailed":
    case "RefundAwaited":
    case "ChargebackReported":
      return evolveRefund(state, event)
    case "Received":
    case "GivenBack":
      return evolveReceipt(state, event)
  }
}

/** What the order shows of it. REQUIREMENTS B.4. */
export const orderPaymentStatus = {
  pending: "pending",
  processing: "processing",
  authorized: "authorized",
  captured: "completed",
  failed: "failed",
  voided: "cancelled",
  partially_refunded: "partially_refunded",
  refunded: "refunded"
} as const satisfies Readonly<Record<PaymentStatus, string>>

/** The first instant at which the hold is gone; undefined while there is none. A version before stored the provider's date only. */
export const holdEndOf = ({ authorizedAt, holdUntil }: PresentPayment, { holdFor }: Pick<PaymentLimits, "holdFor">) =>
  holdUntil ?? (authorizedAt === undefined ? undefined : DateTime.addDuration(authorizedAt, holdFor))

export const view = (state: PaymentState): PaymentView | null => {
  if (state._tag === "Absent") return null
  const { amount, attempt, captureMode, captureRetryCount, captured, chargebacks, currency, holdUntil } = state
  const { escrow, givenBack, method, receipts, refunded, refunds, saga, status, transferReference } = state
  return {
    attempt,
    status,
    saga,
    captureRetryCount,
    captured,
    refunded,
    amount,
    currency,
    refundPending: pendingOf(state),
    ...(captureMode === undefined ? {} : { captureMode }),
    ...(holdUntil === undefined ? {} : { holdUntil }),
    ...(refunds === undefined ? {} : { refunds: refunds.map(refundView) }),
    ...(chargebacks === undefined ? {} : { chargebacks }),
    ...(escrow === undefined ? {} : { escrow }),
    ...(method === undefined ? {} : { method, received: receivedOf(state), owed: owedOf(state) }),
    ...(transferReference === undefined ? {} : { transferReference }),
    ...(receipts === undefined ? {} : { receipts }),
    ...(givenBack === undefined ? {} : { givenBack })
  }
}
