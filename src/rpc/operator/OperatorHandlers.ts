/** Answers operators: lists from the tables, everything else by the actor it is about. Who may call is OperatorAccess's business. */
import { Effect, Layer } from "effect"
import type { OrderId } from "../../domain/Ids.ts"
import { IllegalTransition, InvalidRequest, NotFound } from "../../domain/Refusals.ts"
import { Alert } from "../../entities/alert/Alert.ts"
import { AlertList } from "../../projections/AlertList.ts"
import { Payment } from "../../entities/payment/Payment.ts"
import { operatorRefund } from "../../entities/payment/Refund.ts"
import { AuditList } from "../../projections/AuditList.ts"
import { RefundList } from "../../projections/RefundList.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Captures } from "../../workflows/capture/Captures.ts"
import { Refunds } from "../../workflows/refund/Refunds.ts"
import { Operator } from "./OperatorAccess.ts"
import * as OperatorAccessHandlers from "./OperatorAccessHandlers.ts"
import { OperatorRpc } from "./OperatorRpc.ts"

const pageSize = 20

const handlers = OperatorRpc.toLayer(
  Effect.gen(function* () {
    const placement = yield* Placement
    const auditList = yield* AuditList
    const alertList = yield* AlertList
    const refundList = yield* RefundList
    const alerts = placement.client(Alert)
    const captures = placement.client(Captures)
    const payments = placement.client(Payment)
    const refunds = placement.client(Refunds)

    const paymentOf = (id: OrderId) =>
      Effect.flatMap(payments(id).GetPayment(), (view) =>
        view === null ? Effect.fail(new NotFound({ id })) : Effect.succeed(view)
      )

    return OperatorRpc.of({
      ListAudit: ({ limit, ...request }) => auditList.page({ ...request, limit: limit ?? pageSize }),
      ListAlerts: ({ limit, ...request }) => alertList.page({ ...request, limit: limit ?? pageSize }),
      GetPayment: ({ id }) => paymentOf(id),
      ListRefunds: ({ id, limit, ...request }) =>
        refundList.page({ ...request, ...(id === undefined ? {} : { orderId: id }), limit: limit ?? pageSize }),
      RefundPayment: Effect.fnUntraced(function* ({ amount, id, key, reason }) {
        const { by } = yield* Operator
        const { currency } = yield* paymentOf(id)
        if (amount !== undefined && amount.currency !== currency) {
          return yield* new InvalidRequest({ field: "amount.currency", message: `The payment is in ${currency}` })
        }
        const asked = amount === undefined ? {} : { amount: amount.amount }
        return yield* refunds(id).Request({ key, refund: operatorRefund(key), ...asked, reason, by })
      }),
      CapturePayment: ({ id, key }) =>
        captures(id)
          .Capture({ key })
          .pipe(
            Effect.catchTag("PaymentConflict", ({ command, status }) =>
              Effect.fail(new IllegalTransition({ status, command }))
            )
          ),
      GetAlert: ({ id }) => alerts(id).GetAlert(),
      AcknowledgeAlert: ({ id, key }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Acknowledge({ key, by })),
      ClearAlert: ({ id, key, reason }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Clear({ key, by, reason }))
    })
  })
)

/** The calls, and the door in front of them. */
export const layer = handlers.pipe(
  Layer.provide([AuditList.layer, AlertList.layer, RefundList.layer]),
  Layer.provideMerge(OperatorAccessHandlers.layer)
)
