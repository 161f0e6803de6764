/** Answers operators: lists from the tables, everything else by the actor it is about. Who may call is OperatorAccess's business. */
import { DateTime, Duration, Effect, Layer, Option } from "effect"
import type { Rpc, RpcGroup } from "effect/rpc"
import { type IdempotencyKey, type OrderId, orderIdOf } from "../../domain/Ids.ts"
import type { Money } from "../../domain/Money.ts"
import {
  IdempotencyConflict,
  IllegalTransition,
  InvalidRequest,
  NotFound,
  type Unavailable
} from "../../domain/Refusals.ts"
import type { ReconciliationId } from "../../domain/ReconciliationReport.ts"
import { referenceIn } from "../../domain/TransferReference.ts"
import { Alert } from "../../entities/alert/Alert.ts"
import { FailedCompensation, type FailedCompensationId } from "../../entities/failedCompensation/FailedCompensation.ts"
import { AlertList } from "../../projections/AlertList.ts"
import { ReceiptId } from "../../entities/payment/Receipt.ts"
import { Payment, type PaymentConflict } from "../../entities/payment/Payment.ts"
import { operatorRefund } from "../../entities/payment/Refund.ts"
import { AuditList } from "../../projections/AuditList.ts"
import { SellerAccount } from "../../entities/sellerAccount/SellerAccount.ts"
import { PayoutList } from "../../projections/PayoutList.ts"
import { SellerPostings } from "../../projections/SellerPostings.ts"
import { eventKeyOf, ProviderEvent } from "../../entities/providerEvent/ProviderEvent.ts"
import { PaymentReferences } from "../../projections/PaymentReferences.ts"
import { ReconciliationList } from "../../projections/ReconciliationList.ts"
import { RefundList } from "../../projections/RefundList.ts"
import { FailedCompensationList } from "../../projections/FailedCompensationList.ts"
import { pageOf, placeAfter } from "../../projections/Pages.ts"
import { parkedAlertOf, ParkedNotices } from "../../runtime/ParkedNotices.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Workflows } from "../../runtime/WorkflowEngine.ts"
import { WorkflowSearch } from "../../runtime/WorkflowSearch.ts"
import { Captures } from "../../workflows/capture/Captures.ts"
import { OfflinePayments } from "../../workflows/offline/OfflinePayments.ts"
import { ReconciliationRequests } from "../../workflows/reconciliation/ReconciliationRequests.ts"
import { Payouts } from "../../workflows/payout/Payouts.ts"
import { Refunds } from "../../workflows/refund/Refunds.ts"
import { Operator } from "./OperatorAccess.ts"
import * as OperatorAccessHandlers from "./OperatorAccessHandlers.ts"
import { maxOperatorPage, OperatorRpc } from "./OperatorRpc.ts"

const pageSize = 20
/** Of the 30 s which a call may take. */
const attemptWithin = Duration.seconds(20)
/** How much another clock may be ahead of ours. */
const aheadAtMost = Duration.minutes(5)
/** A wake-up may be lost when the record moves to another node. */
const lookAgainAfter = Duration.seconds(3)

const misfit = ({ command, status }: PaymentConflict) => Effect.fail(new IllegalTransition({ status, command }))

const handlers = OperatorRpc.toLayer(
  Effect.gen(function* () {
    const placement = yield* Placement
    const auditList = yield* AuditList
    const alertList = yield* AlertList
    const parked = yield* ParkedNotices
    const compensationList = yield* FailedCompensationList
    const compensations = placement.client(FailedCompensation)
    const refundList = yield* RefundList
    const engine = yield* Workflows
    const search = yield* WorkflowSearch
    const alerts = placement.client(Alert)
    const captures = placement.client(Captures)
    const events = placement.client(ProviderEvent)
    const references = yield* PaymentReferences
    const payments = placement.client(Payment)
    const reconciliationList = yield* ReconciliationList
    const reconciliations = yield* ReconciliationRequests
    const refunds = placement.client(Refunds)
    const offline = placement.client(OfflinePayments)
    const sellers = placement.client(SellerAccount)
    const sellerPostings = yield* SellerPostings
    const payoutList = yield* PayoutList
    const payouts = placement.client(Payouts)

    const paymentOf = (id: OrderId) =>
      Effect.flatMap(payments(id).GetPayment(), (view) =>
        view === null ? Effect.fail(new NotFound({ id })) : Effect.succeed(view)
      )

    /** Refused unless the money is in the payment's currency. */
    const inCurrencyOf = Effect.fnUntraced(function* (id: OrderId, amount: Money | undefined) {
      const { currency } = yield* paymentOf(id)
      if (amount !== undefined && amount.currency !== currency) {
        return yield* new InvalidRequest({ field: "amount.currency", message: `The payment is in ${currency}` })
      }
    })

    /** Money which is said to have come in the future is a mistake somewhere; clocks differ a little. */
    const received = Effect.fnUntraced(function* (at: DateTime.Utc) {
      if (DateTime.isGreaterThan(at, DateTime.addDuration(yield* DateTime.now, aheadAtMost))) {
        return yield* new InvalidRequest({ field: "receivedAt", message: "It lies in the future" })
      }
    })

    const recordTransfer = Effect.fnUntraced(function* ({
      amount,
      bankTransactionId,
      receivedAt,
      reference
    }: Rpc.Payload<Extract<RpcGroup.Rpcs<typeof OperatorRpc>, { readonly _tag: "RecordBankTransfer" }>>) {
      const { by } = yield* Operator
      yield* received(receivedAt)
      const written = referenceIn(reference)
      const found = written === undefined ? undefined : yield* references.paymentReferredTo(written)
      if (found === undefined) return yield* new NotFound({ id: reference })
      const id = orderIdOf(found)
      yield* inCurrencyOf(id, amount)
      const receipt = ReceiptId.make(`bank:${bankTransactionId}`)
      /** The bank's id names one transfer, whichever order it was recorded for. */
      const sameAs = Effect.fnUntraced(function* () {
        const known = yield* references.transferOf(receipt)
        if (known !== undefined && (known.payment !== found || known.amount !== amount.amount)) {
          return yield* new IdempotencyConflict({ key: bankTransactionId })
        }
        return known !== undefined
      })
      yield* sameAs()
      return yield* offline(id)
        .RecordTransfer({ by, bankTransactionId, amount: amount.amount, receivedAt })
        .pipe(
          // Recorded for two orders at the same instant, the table lets one of them be.
          Effect.catchDefect((defect) => Effect.flatMap(sameAs(), () => Effect.die(defect)))
        )
    })

    /** Parked again, it is raised again. */
    const overWith = (id: string, key: IdempotencyKey, reason: string) =>
      alerts(parkedAlertOf(id))
        .Clear({ key, reason })
        .pipe(
          Effect.catchTag("NotFound", () => Effect.void),
          Effect.asVoid
        )

    /** The record once the attempt that began with `seq` has ended, or as it is when that takes too long. */
    const ended = (id: FailedCompensationId, seq: number) =>
      Effect.gen(function* () {
        let seen = seq
        while (true) {
          yield* placement.awaitChange(FailedCompensation.type, id, seen, lookAgainAfter)
          const found = yield* compensations(id).GetFailedCompensation()
          if (found.status !== "retrying") return found
          seen = found.seq
        }
      }).pipe(
        Effect.timeoutOrElse({ duration: attemptWithin, orElse: () => compensations(id).GetFailedCompensation() })
      )
    const reconciliationOf = Effect.fnUntraced(function* (
      id: ReconciliationId,
      findings: { readonly after?: number; readonly limit: number }
    ) {
      const found = yield* reconciliationList.get(id, findings)
      return Option.isSome(found) ? found.value : yield* new NotFound({ id })
    })
    const workflowOf = Effect.fnUntraced(function* (
      id: string,
      steps: { readonly after?: number | undefined; readonly limit: number } = { limit: 1 }
    ) {
      const found = yield* search.get(id, steps)
      return Option.isSome(found) ? found.value : yield* new NotFound({ id })
    })

    /** An execution that has ended takes no orders. */
    const tell = Effect.fnUntraced(function* (
      id: string,
      command: string,
      telling: (id: string) => Effect.Effect<boolean, Unavailable>
    ) {
      yield* workflowOf(id)
      const told = yield* telling(id)
      const { createdAt, businessKey, interrupted, status, updatedAt, workflow } = yield* workflowOf(id)
      if (!told) return yield* new IllegalTransition({ status, command })
      return { id, workflow, businessKey, status, interrupted, createdAt, updatedAt }
    })

    return OperatorRpc.of({
      ListWorkflows: ({ limit, status, unfinishedForMs, ...query }) =>
        Effect.map(
          search.list({
            ...query,
            limit: limit ?? pageSize,
            statuses: status === undefined ? undefined : [status],
            unfinishedFor: unfinishedForMs === undefined ? undefined : Duration.millis(unfinishedForMs)
          }),
          ({ executions, ...page }) => ({ workflows: executions, ...page })
        ),
      GetWorkflow: ({ id, limit, stepsAfter }) => workflowOf(id, { after: stepsAfter, limit: limit ?? pageSize }),
      ResumeWorkflow: ({ id }) => tell(id, "ResumeWorkflow", engine.resume),
      InterruptWorkflow: ({ id }) => tell(id, "InterruptWorkflow", engine.interrupt),
      ListAudit: ({ limit, ...request }) => auditList.page({ ...request, limit: limit ?? pageSize }),
      ListAlerts: ({ limit, ...request }) => alertList.page({ ...request, limit: limit ?? pageSize }),
      GetPayment: ({ id }) => paymentOf(id),
      ListRefunds: ({ id, limit, ...request }) =>
        refundList.page({ ...request, ...(id === undefined ? {} : { orderId: id }), limit: limit ?? pageSize }),
      RefundPayment: Effect.fnUntraced(function* ({ amount, id, key, reason }) {
        const { by } = yield* Operator
        yield* inCurrencyOf(id, amount)
        const asked = amount === undefined ? {} : { amount: amount.amount }
        return yield* refunds(id).Request({ key, refund: operatorRefund(key), ...asked, reason, by })
      }),
      CapturePayment: ({ id, key }) => captures(id).Capture({ key }).pipe(Effect.catchTag("PaymentConflict", misfit)),
      ReleaseEscrow: Effect.fnUntraced(function* ({ id, key, reason }) {
        const { by } = yield* Operator
        yield* paymentOf(id)
        return yield* payments(id).ReleaseEscrow({ key, by, reason }).pipe(Effect.catchTag("PaymentConflict", misfit))
      }),
      GetSellerAccount: ({ id }) => sellers(id).GetSellerAccount(),
      ListSellerEntries: ({ id, limit, ...request }) =>
        sellerPostings.page({ ...request, sellerId: id, limit: limit ?? pageSize }),
      SetSellerFee: ({ id, ...fee }) => Effect.flatMap(Operator, ({ by }) => sellers(id).SetFee({ ...fee, by })),
      SetPayoutAccount: ({ id, ...asked }) =>
        Effect.flatMap(Operator, ({ by }) => sellers(id).SetPayoutAccount({ ...asked, by })),
      StartPayout: Effect.fnUntraced(function* ({ id, key, period }) {
        const { by } = yield* Operator
        yield* payouts(id).Start({ key, period, by })
        const { payouts: started } = yield* payoutList.page({ sellerId: id, period, limit: maxOperatorPage })
        return started
      }),
      SettlePayout: ({ id, reference, status, ...asked }) =>
        Effect.flatMap(Operator, ({ by }) =>
          sellers(id).SettlePayout({
            ...asked,
            by,
            outcome: status === "paid" ? { _tag: "Paid", reference } : { _tag: "Failed", code: reference }
          })
        ),
      ListPayouts: ({ id, limit, ...request }) =>
        payoutList.page({ ...request, ...(id === undefined ? {} : { sellerId: id }), limit: limit ?? pageSize }),
      ReplayWebhook: ({ eventId, provider }) =>
        Effect.gen(function* () {
          const event = { provider, eventId }
          const found = yield* references.eventOf(event)
          if (found === undefined) return yield* new NotFound({ id: eventKeyOf(event) })
          yield* events(found.payment ?? eventKeyOf(event))
            .Replay(event)
            .pipe(
              Effect.catchTag("EventConflict", ({ command, status }) =>
                Effect.fail(new IllegalTransition({ status, command }))
              )
            )
        }),
      ConfirmCashOnDelivery: ({ id }) => Effect.flatMap(Operator, ({ by }) => offline(id).ConfirmCash({ by })),
      HoldCashOnDelivery: ({ id, reason }) =>
        Effect.flatMap(Operator, ({ by }) => offline(id).HoldCash({ by, reason })),
      RecordCash: Effect.fnUntraced(function* ({ amount, id, key, receivedAt }) {
        const { by } = yield* Operator
        yield* received(receivedAt)
        yield* inCurrencyOf(id, amount)
        return yield* offline(id).RecordCash({ key, by, amount: amount.amount, receivedAt })
      }),
      RecordBankTransfer: recordTransfer,
      RecordGivenBack: Effect.fnUntraced(function* ({ amount, id, key, reason }) {
        const { by } = yield* Operator
        yield* inCurrencyOf(id, amount)
        return yield* offline(id).RecordGivenBack({ key, by, amount: amount.amount, reason })
      }),
      ListFailedCompensations: ({ limit, ...request }) =>
        compensationList.page({ ...request, limit: limit ?? pageSize }),
      GetFailedCompensation: ({ id }) => compensations(id).GetFailedCompensation(),
      RetryCompensation: ({ id, key }) =>
        Effect.flatMap(Operator, ({ by }) => compensations(id).Retry({ key, by })).pipe(
          Effect.flatMap(({ seq }) => ended(id, seq))
        ),
      ResolveCompensation: ({ id, key, reason }) =>
        Effect.flatMap(Operator, ({ by }) => compensations(id).Resolve({ key, by, reason })),
      ListParked: Effect.fnUntraced(function* ({ after, limit = pageSize }) {
        const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
        const { shown, ...rest } = pageOf(yield* parked.list(behind, limit), limit, ({ at, id }) => ({ at, id }))
        return { parked: shown.map(({ at: _, ...one }) => one), ...rest }
      }),
      ReplayParked: ({ id, key }) =>
        Effect.flatMap(Operator, ({ by }) => parked.replay({ id, key, by })).pipe(
          Effect.andThen(overWith(id, key, "An operator has it delivered again"))
        ),
      CloseParked: ({ id, key, reason }) =>
        Effect.flatMap(Operator, ({ by }) => parked.close({ id, key, by, reason })).pipe(
          Effect.andThen(overWith(id, key, "An operator has given it up"))
        ),
      ListReconciliations: ({ limit, ...request }) => reconciliationList.page({ ...request, limit: limit ?? pageSize }),
      GetReconciliation: ({ findingsAfter, id, limit }) =>
        reconciliationOf(id, {
          ...(findingsAfter === undefined ? {} : { after: findingsAfter }),
          limit: limit ?? pageSize
        }),
      StartReconciliation: Effect.fnUntraced(function* (request) {
        const { by } = yield* Operator
        const id = yield* reconciliations.start({ ...request, by })
        return (yield* reconciliationOf(id, { limit: 1 })).report
      }),
      GetAlert: ({ id }) => alerts(id).GetAlert(),
      AcknowledgeAlert: ({ id, key }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Acknowledge({ key, by })),
      ClearAlert: ({ id, key, reason }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Clear({ key, by, reason }))
    })
  })
)

/** The calls, and the door in front of them. */
export const layer = handlers.pipe(
  Layer.provide([
    ParkedNotices.layer,
    AuditList.layer,
    AlertList.layer,
    FailedCompensationList.layer,
    PaymentReferences.layer,
    ReconciliationList.layer,
    RefundList.layer,
    PayoutList.layer,
    SellerPostings.layer
  ]),
  Layer.provideMerge(OperatorAccessHandlers.layer)
)
