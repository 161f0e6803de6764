/** What operators may see and do. REQ-API-06. Who acts is in the token; every call is in the audit trail. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import { CustomerId, IdempotencyKey, OrderId, SellerId } from "../../domain/Ids.ts"
import { Currency } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { ExecutionDescription, ExecutionStatus, ExecutionSummary } from "../../domain/Executions.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"
import { BasisPoints } from "../../domain/SellerStanding.ts"
import { AlertId, AlertSeverity, AlertStatus, AlertView } from "../../entities/alert/Alert.ts"
import { OrderView } from "../../entities/order/Order.ts"
import { PaymentView } from "../../entities/payment/Payment.ts"
import { BankTransactionId, CashMismatch } from "../../entities/payment/Receipt.ts"
import {
  ListedRefund,
  RefundAmount,
  RefundNotPossible,
  RefundStatus,
  RefundTooLarge,
  RefundView
} from "../../entities/payment/Refund.ts"
import { Provider, ProviderReference } from "../../entities/providerEvent/ProviderEvent.ts"
import {
  CompensationOperation,
  CompensationStatus,
  FailedCompensationId,
  FailedCompensationView
} from "../../entities/failedCompensation/FailedCompensation.ts"
import {
  CheckName,
  ReconciliationFinding,
  ReconciliationId,
  ReconciliationReport,
  ReconciliationStatus
} from "../../domain/ReconciliationReport.ts"
import { RecordedTransfer } from "../../workflows/offline/OfflinePayments.ts"
import {
  ListedPayout,
  PayoutAccount,
  PayoutPeriod,
  PayoutStatus,
  SellerAccountView,
  SellerPosting
} from "../../entities/sellerAccount/SellerAccount.ts"
import { EdgeRefusal } from "../Edge.ts"
import { AuditedWithEffect, OperatorAccess } from "./OperatorAccess.ts"

/** The most entries in one answer. REQ-GEN-16. */
export const maxOperatorPage = 100

/** A page of a list, newest first; `after` is the `next` of the page before. */
export const paging = {
  after: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(400))),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxOperatorPage })))
}
const next = { next: Schema.optionalKey(Schema.String) }

/** One thing that somebody did, or was refused. */
export const AuditRecord = Schema.Struct({
  /** Goes up from row to row. */
  id: Schema.String,
  at: Schema.DateTimeUtc,
  /** The subject of the token; `anonymous` where there was none. */
  actor: Schema.String,
  role: Schema.Literals(["operator", "customer", "guest", "anonymous"]),
  operation: Schema.String,
  subject: Schema.optionalKey(Schema.String),
  /** `done`, or the code of the refusal. */
  outcome: Schema.String,
  details: Schema.Json,
  requestId: Schema.optionalKey(Schema.String)
})
export type AuditRecord = typeof AuditRecord.Type

/** E.g. `CheckoutSession:checkout-1:7:0`. */
export const ParkedId = Schema.String.check(Schema.isPattern(/^[A-Za-z]{1,40}:[\w.:@|~/#-]{1,150}:\d{1,9}:\d{1,9}$/))

export const ParkedView = Schema.Struct({
  id: Schema.String,
  sourceType: Schema.String,
  sourceId: Schema.String,
  receiverType: Schema.String,
  receiverId: Schema.String,
  /** What it says, as the receiver would get it. */
  message: Schema.Json,
  attempts: Schema.Int,
  /** Why the last attempt came to nothing. */
  error: Schema.optionalKey(Schema.String),
  parkedAt: Schema.DateTimeUtc
})

const error = Schema.Union([NotFound, IllegalTransition, EdgeRefusal])
/** What any call of an operator may be refused with besides what it is about. */
const questions = EdgeRefusal
const key = { key: IdempotencyKey }
const alert = { success: AlertView, error }
const compensation = { success: FailedCompensationView, error }
/** More than nothing, of one currency. */
export const sum = Schema.Struct({ amount: RefundAmount, currency: Currency })
/** A transfer as the bank tells of it. */
export const bankTransfer = {
  reference: Schema.String.check(Schema.isPattern(/^[A-Za-z0-9 .-]{1,64}$/)),
  amount: sum,
  bankTransactionId: BankTransactionId,
  receivedAt: Schema.DateTimeUtc
}
const seller = { id: SellerId }
/** An execution of a workflow, as its engine names it. */
const execution = { id: Schema.String.check(Schema.isPattern(/^[\w-]{1,128}$/)) }

/** What an operator says of a payout. */
export const settledPayout = {
  period: PayoutPeriod,
  currency: Currency,
  status: Schema.Literals(["paid", "failed"]),
  /** What the provider calls it; where it failed, why. */
  reference: Schema.String.check(Schema.isPattern(/^[^\p{Cc}\p{Cs}]{1,200}$/u)),
  reason: Reason
} as const

export class OperatorRpc extends RpcGroup.make(
  /** Who did what, newest first. */
  Rpc.make("ListAudit", {
    payload: {
      actor: Schema.optionalKey(CustomerId),
      operation: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[A-Za-z]{1,64}$/))),
      subject: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w.:@|~/#-]{1,200}$/))),
      /** Inclusive. */
      since: Schema.optionalKey(Schema.DateTimeUtc),
      /** Exclusive. */
      before: Schema.optionalKey(Schema.DateTimeUtc),
      ...paging
    },
    success: Schema.Struct({ records: Schema.Array(AuditRecord), ...next }),
    error: questions
  }),
  /** Alerts, newest first; `unsent`: those which not every sink has accepted. REQ-ALR-01. */
  Rpc.make("ListAlerts", {
    payload: {
      status: Schema.optionalKey(AlertStatus),
      severity: Schema.optionalKey(AlertSeverity),
      unsent: Schema.optionalKey(Schema.Boolean),
      ...paging
    },
    success: Schema.Struct({ alerts: Schema.Array(AlertView), ...next }),
    error: questions
  }),
  /** The payment of an order, with its refunds and chargebacks. */
  Rpc.make("GetPayment", { payload: { id: OrderId }, success: PaymentView, error }),
  /** Refunds, those of the payment which changed last first; a page has `limit` payments. */
  Rpc.make("ListRefunds", {
    payload: { id: Schema.optionalKey(OrderId), status: Schema.optionalKey(RefundStatus), ...paging },
    success: Schema.Struct({ refunds: Schema.Array(ListedRefund), ...next }),
    error: questions
  }),
  /**
   * Gives money back: `amount`, or without it all that is left. Durable once answered; GetPayment tells how it ends. The same key is the
   * same refund, for good. REQ-RFD-01.
   */
  Rpc.make("RefundPayment", {
    payload: {
      ...key,
      id: OrderId,
      amount: Schema.optionalKey(sum),
      reason: Reason
    },
    success: RefundView,
    error: Schema.Union([NotFound, RefundNotPossible, RefundTooLarge, EdgeRefusal])
  }).annotate(AuditedWithEffect, true),
  /** Captures a deferred hold now; tells how the payment stands after the first try. REQ-CAP-08. */
  Rpc.make("CapturePayment", { payload: { ...key, id: OrderId }, success: PaymentView, error }),
  /** What is held for a seller of this order is the seller's from now on; later work says so by itself when an order is closed. REQ-ESC-01. */
  Rpc.make("ReleaseEscrow", { payload: { ...key, id: OrderId, reason: Reason }, success: PaymentView, error }).annotate(
    AuditedWithEffect,
    true
  ),
  /** What is held for a seller, owed to it and paid to it, by currency. REQ-ESC-01. */
  Rpc.make("GetSellerAccount", { payload: seller, success: SellerAccountView, error }),
  /** A seller's ledger, newest first. */
  Rpc.make("ListSellerEntries", {
    payload: { ...seller, ...paging },
    success: Schema.Struct({ postings: Schema.Array(SellerPosting), ...next }),
    error: questions
  }),
  /** What the shop keeps of orders captured from now on; without a number its usual fee again. */
  Rpc.make("SetSellerFee", {
    payload: { ...key, ...seller, basisPoints: Schema.optionalKey(BasisPoints), reason: Reason },
    success: SellerAccountView,
    error
  }).annotate(AuditedWithEffect, true),
  /** Where payouts to the seller go that are started from now on. */
  Rpc.make("SetPayoutAccount", {
    payload: { ...key, ...seller, account: PayoutAccount, reason: Reason },
    success: SellerAccountView,
    error
  }).annotate(AuditedWithEffect, true),
  /**
   * Pays out all that is the seller's now, in each currency, and is durable once answered. A period is paid out once, for good, whatever the
   * key and whoever asks; what is released later goes with the next one. REQ-ESC-02.
   */
  Rpc.make("StartPayout", {
    payload: { ...key, ...seller, period: PayoutPeriod },
    success: Schema.Array(ListedPayout),
    error
  }).annotate(AuditedWithEffect, true),
  /** What the provider's own pages say of a payout which is left to people: `failed` gives the money back to the seller's balance. */
  Rpc.make("SettlePayout", {
    payload: { ...key, ...seller, ...settledPayout },
    success: SellerAccountView,
    error
  }).annotate(AuditedWithEffect, true),
  /** Payouts, newest first. */
  Rpc.make("ListPayouts", {
    payload: {
      id: Schema.optionalKey(SellerId),
      period: Schema.optionalKey(PayoutPeriod),
      status: Schema.optionalKey(PayoutStatus),
      ...paging
    },
    success: Schema.Struct({ payouts: Schema.Array(ListedPayout), ...next }),
    error: questions
  }),
  /** Gives a parked webhook all of its tries again; its alert names it. REQ-WHK-05. */
  Rpc.make("ReplayWebhook", { payload: { ...key, provider: Provider, eventId: ProviderReference }, error }),
  /** Confirms an order with cash on delivery within its window. Confirmed already is success. REQ-COD-01. */
  Rpc.make("ConfirmCashOnDelivery", { payload: { ...key, id: OrderId }, success: OrderView, error }).annotate(
    AuditedWithEffect,
    true
  ),
  /** From now on it is confirmed by an operator only, or cancelled when its window is over. */
  Rpc.make("HoldCashOnDelivery", {
    payload: { ...key, id: OrderId, reason: Reason },
    success: OrderView,
    error
  }).annotate(AuditedWithEffect, true),
  /**
   * Cash was handed in for a confirmed order: exactly what is due captures its payment. Anything else is recorded, raised as an alert, and
   * answered with `CashMismatch`; the order is not paid by it. REQ-COD-04.
   */
  Rpc.make("RecordCash", {
    payload: { ...key, id: OrderId, amount: sum, receivedAt: Schema.DateTimeUtc },
    success: PaymentView,
    error: Schema.Union([NotFound, IllegalTransition, CashMismatch, EdgeRefusal])
  }).annotate(AuditedWithEffect, true),
  /**
   * A bank transfer has come in with this reference, as the customer or the bank wrote it. The bank's id of it counts once, for good; the
   * same id with another amount or reference is an `IdempotencyConflict`. What is too much or too late is told as such, raised as an alert,
   * and stands as `owed` with the payment until it is given back. REQ-BNK-02.
   */
  Rpc.make("RecordBankTransfer", {
    payload: bankTransfer,
    success: RecordedTransfer,
    error
  }).annotate(AuditedWithEffect, true),
  /** Money which did not come through the payment provider was given back by hand: first what is `owed`, then what was captured. */
  Rpc.make("RecordGivenBack", {
    payload: { ...key, id: OrderId, amount: sum, reason: Reason },
    success: PaymentView,
    error: Schema.Union([NotFound, RefundNotPossible, RefundTooLarge, EdgeRefusal])
  }).annotate(AuditedWithEffect, true),
  /** Failed compensations, newest first. REQ-CMP-05. */
  Rpc.make("ListFailedCompensations", {
    payload: {
      status: Schema.optionalKey(CompensationStatus),
      orderId: Schema.optionalKey(OrderId),
      operation: Schema.optionalKey(CompensationOperation),
      /** Recorded before this instant. */
      before: Schema.optionalKey(Schema.DateTimeUtc),
      ...paging
    },
    success: Schema.Struct({ compensations: Schema.Array(FailedCompensationView), ...next }),
    error: questions
  }),
  Rpc.make("GetFailedCompensation", { payload: { id: FailedCompensationId }, ...compensation }),
  /**
   * Tries it now, also once it was given up, but not while an attempt is under way. Answers with what came of it: `resolved`, or the error
   * of this attempt; still `retrying` when that takes longer than 20 s.
   */
  Rpc.make("RetryCompensation", { payload: { ...key, id: FailedCompensationId }, ...compensation }).annotate(
    AuditedWithEffect,
    true
  ),
  /** It was done by hand. */
  Rpc.make("ResolveCompensation", {
    payload: { ...key, id: FailedCompensationId, reason: Reason },
    ...compensation
  }).annotate(AuditedWithEffect, true),
  /**
   * Executions of workflows, newest first: by the workflow's tag, by what they are about (such as an order's id), by when they were created.
   * `unfinishedForMs`: those which have not ended so long after that.
   */
  Rpc.make("ListWorkflows", {
    payload: {
      workflow: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^\w{1,64}$/))),
      status: Schema.optionalKey(ExecutionStatus),
      businessKey: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w.:@|~/#-]{1,200}$/))),
      /** Inclusive. */
      createdAfter: Schema.optionalKey(Schema.DateTimeUtc),
      /** Exclusive. */
      createdBefore: Schema.optionalKey(Schema.DateTimeUtc),
      unfinishedForMs: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 31_622_400_000 }))),
      ...paging
    },
    success: Schema.Struct({ workflows: Schema.Array(ExecutionSummary), ...next }),
    error: questions
  }),
  /** One of them with a page of its step log, oldest first, up to what it is at right now; `stepsAfter` is the `nextStep` of the page before. */
  Rpc.make("GetWorkflow", {
    payload: {
      ...execution,
      stepsAfter: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_147_483_646 }))),
      limit: paging.limit
    },
    success: ExecutionDescription,
    error
  }),
  /** Runs one again that waits, also one that waits on failure. Safe to repeat. */
  Rpc.make("ResumeWorkflow", { payload: { ...execution, reason: Reason }, success: ExecutionSummary, error }),
  /** Ends one where it would wait next; what it has done so far is undone by its compensations. Safe to repeat. */
  Rpc.make("InterruptWorkflow", { payload: { ...execution, reason: Reason }, success: ExecutionSummary, error }),
  /** Notices which were set aside after their attempts, newest first. REQ-GEN-09. */
  Rpc.make("ListParked", {
    payload: paging,
    success: Schema.Struct({ parked: Schema.Array(ParkedView), ...next }),
    error: questions
  }),
  /** Gives one all of its attempts again; those behind it, from the same source to the same receiver, go on after it. */
  Rpc.make("ReplayParked", { payload: { ...key, id: ParkedId }, error }).annotate(AuditedWithEffect, true),
  /** Gives one up, with all it said kept in the audit trail; those behind it go on. */
  Rpc.make("CloseParked", { payload: { ...key, id: ParkedId, reason: Reason }, error }).annotate(
    AuditedWithEffect,
    true
  ),
  /** What reconciliation has looked at and found, newest first. REQ-REC-02. */
  Rpc.make("ListReconciliations", {
    payload: { status: Schema.optionalKey(ReconciliationStatus), ...paging },
    success: Schema.Struct({ reconciliations: Schema.Array(ReconciliationReport), ...next }),
    error: questions
  }),
  /** One run with a page of its findings, oldest first; `findingsAfter` is the `nextFinding` of the page before. */
  Rpc.make("GetReconciliation", {
    payload: {
      id: ReconciliationId,
      findingsAfter: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_147_483_646 }))),
      limit: paging.limit
    },
    success: Schema.Struct({
      report: ReconciliationReport,
      findings: Schema.Array(ReconciliationFinding),
      nextFinding: Schema.optionalKey(Schema.Int)
    }),
    error
  }),
  /** Looks everything through now, or what `checks` names; it begins within seconds, and GetReconciliation tells how it goes. */
  Rpc.make("StartReconciliation", {
    payload: { ...key, checks: Schema.optionalKey(Schema.NonEmptyArray(CheckName).check(Schema.isMaxLength(100))) },
    success: ReconciliationReport,
    error
  }).annotate(AuditedWithEffect, true),
  Rpc.make("GetAlert", { payload: { id: AlertId }, ...alert }),
  /** Somebody looks after it: it pages nobody until it gets worse. */
  Rpc.make("AcknowledgeAlert", { payload: { ...key, id: AlertId }, ...alert }).annotate(AuditedWithEffect, true),
  Rpc.make("ClearAlert", { payload: { ...key, id: AlertId, reason: Reason }, ...alert }).annotate(
    AuditedWithEffect,
    true
  )
).middleware(OperatorAccess) {}
