/** The part of the API which answers to plain HTTP and JSON, at the paths of REQUIREMENTS A.5. Described at `/openapi.json`. REQ-GEN-22. */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema, OpenApi } from "effect/http-api"
import { CheckoutId, CustomerId, IdempotencyKey, OrderId, SellerId } from "../../domain/Ids.ts"
import { Reason } from "../../domain/Reason.ts"
import { Money } from "../../domain/Money.ts"
import { BasisPoints } from "../../domain/SellerStanding.ts"
import { OrderView } from "../../entities/order/Order.ts"
import { PaymentView } from "../../entities/payment/Payment.ts"
import { AlertId, AlertSeverity, AlertStatus, AlertView } from "../../entities/alert/Alert.ts"
import {
  CompensationOperation,
  CompensationStatus,
  FailedCompensationId,
  FailedCompensationView
} from "../../entities/failedCompensation/FailedCompensation.ts"
import {
  PayoutAccount,
  PayoutPeriod,
  PayoutStatus,
  SellerAccountView
} from "../../entities/sellerAccount/SellerAccount.ts"
import { Confirmation, StockCheck } from "../../workflows/checkout/Checkout.ts"
import { RecordedTransfer } from "../../workflows/offline/OfflinePayments.ts"
import { bankTransfer, OperatorRpc, ParkedId, settledPayout, sum } from "../operator/OperatorRpc.ts"
import { strictly } from "../InvalidRequests.ts"

/** How a refusal looks in plain HTTP: RFC 9457, with the stable code, the request id and whether to try again. REQ-API-08. */
const problem = <const Status extends number>(status: Status) =>
  Schema.Struct({
    status: Schema.Literal(status),
    /** The refusal's name, e.g. `OutOfStock`. */
    code: Schema.String,
    title: Schema.String,
    requestId: Schema.String,
    retryable: Schema.Boolean,
    /** What the refusal carries, e.g. the lines which are out of stock. */
    details: Schema.Json
  })
    .annotate({ identifier: `Problem${status}`, httpApiStatus: status })
    .pipe(HttpApiSchema.asJson({ contentType: "application/problem+json" }))

export const problems = [
  problem(400),
  problem(401),
  problem(402),
  problem(403),
  problem(404),
  problem(409),
  problem(422),
  problem(429),
  problem(500),
  problem(503),
  problem(504)
] as const
export type Problem = (typeof problems)[number]["Type"]

/** What does not fit the endpoint becomes a problem with status 400 which names the field. */
export class SchemaProblems extends HttpApiMiddleware.Service<SchemaProblems>()("cartwright/rpc/http/SchemaProblems", {
  error: problems
}) {}

const caller = {
  /** `Bearer` and a token. */
  authorization: Schema.optionalKey(Schema.String),
  /** Names the checkout, where the request does not. */
  "x-session-id": Schema.optionalKey(CheckoutId),
  "x-customer-id": Schema.optionalKey(Schema.String),
  "x-request-id": Schema.optionalKey(Schema.String)
}
const ofSession = { headers: caller, query: { session_id: Schema.optionalKey(CheckoutId) }, error: problems }

export class CheckoutHttp extends HttpApiGroup.make("checkout")
  .add(
    HttpApiEndpoint.post("confirm", "/checkout/confirm", {
      headers: { ...caller, "idempotency-key": Schema.optionalKey(IdempotencyKey) },
      payload: Schema.Struct({
        checkoutId: Schema.optionalKey(CheckoutId),
        /** Or the `Idempotency-Key` header. */
        key: Schema.optionalKey(IdempotencyKey),
        expectedTotal: Schema.optionalKey(Money)
      }),
      success: Confirmation,
      error: problems
    }).annotate(OpenApi.Description, "The same key has the same outcome for good. `Pending` is asked after with GET."),
    HttpApiEndpoint.get("confirmStatus", "/checkout/confirm", { ...ofSession, success: Confirmation }),
    HttpApiEndpoint.get("validateInventory", "/checkout/validate/inventory", { ...ofSession, success: StockCheck })
  )
  .prefix("/api/v1") {}

export class OrdersHttp extends HttpApiGroup.make("orders")
  .add(
    HttpApiEndpoint.get("getOrder", "/orders/:id", {
      headers: caller,
      params: { id: OrderId },
      success: OrderView,
      error: problems
    })
  )
  .prefix("/api/v1") {}

const keyed = { ...caller, "idempotency-key": Schema.optionalKey(IdempotencyKey) }
const page = {
  after: Schema.optionalKey(Schema.String),
  limit: Schema.optionalKey(Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int)))
}
/** Or the `Idempotency-Key` header. */
const byKey = { key: Schema.optionalKey(IdempotencyKey) }
const because = Schema.Struct({ ...byKey, reason: Reason })
const ofCompensation = { params: { id: FailedCompensationId }, error: problems }
const ofParked = { params: { id: ParkedId }, error: problems }
const ofOrder = { params: { id: OrderId }, error: problems }
const ofAlert = { params: { id: AlertId }, error: problems }
const ofSeller = { params: { id: SellerId }, error: problems }
const success = OperatorRpc.requests

/** For tokens with the role `operator`; whatever is asked here is in the audit trail. REQ-API-06, REQ-SEC-06. */
export class AdminHttp extends HttpApiGroup.make("admin")
  .add(
    HttpApiEndpoint.get("listCompensations", "/compensations", {
      headers: caller,
      query: {
        status: Schema.optionalKey(CompensationStatus),
        orderId: Schema.optionalKey(OrderId),
        operation: Schema.optionalKey(CompensationOperation),
        before: Schema.optionalKey(Schema.DateTimeUtcFromString),
        ...page
      },
      success: success.get("ListFailedCompensations")!.successSchema,
      error: problems
    }),
    HttpApiEndpoint.get("getCompensation", "/compensations/:id", {
      headers: caller,
      ...ofCompensation,
      success: FailedCompensationView
    }),
    HttpApiEndpoint.post("retryCompensation", "/compensations/:id/retry", {
      headers: keyed,
      payload: Schema.Struct(byKey),
      ...ofCompensation,
      success: FailedCompensationView
    }).annotate(OpenApi.Description, "Answers with what came of the attempt: `resolved`, or its error."),
    HttpApiEndpoint.post("resolveCompensation", "/compensations/:id/resolve", {
      headers: keyed,
      payload: because,
      ...ofCompensation,
      success: FailedCompensationView
    }).annotate(OpenApi.Description, "It was done by hand."),
    HttpApiEndpoint.get("listParked", "/parked", {
      headers: caller,
      query: page,
      success: success.get("ListParked")!.successSchema,
      error: problems
    }),
    HttpApiEndpoint.post("replayParked", "/parked/:id/replay", {
      headers: keyed,
      payload: Schema.Struct(byKey),
      ...ofParked
    }),
    HttpApiEndpoint.post("closeParked", "/parked/:id/close", { headers: keyed, payload: because, ...ofParked }),
    HttpApiEndpoint.get("listAlerts", "/alerts", {
      headers: caller,
      query: { status: Schema.optionalKey(AlertStatus), severity: Schema.optionalKey(AlertSeverity), ...page },
      success: success.get("ListAlerts")!.successSchema,
      error: problems
    }),
    HttpApiEndpoint.post("acknowledgeAlert", "/alerts/:id/acknowledge", {
      headers: keyed,
      payload: Schema.Struct(byKey),
      ...ofAlert,
      success: AlertView
    }),
    HttpApiEndpoint.post("clearAlert", "/alerts/:id/clear", {
      headers: keyed,
      payload: because,
      ...ofAlert,
      success: AlertView
    }),
    HttpApiEndpoint.post("confirmCashOnDelivery", "/orders/:id/cash/confirm", {
      headers: keyed,
      payload: Schema.Struct(byKey),
      ...ofOrder,
      success: OrderView
    }),
    HttpApiEndpoint.post("holdCashOnDelivery", "/orders/:id/cash/hold", {
      headers: keyed,
      payload: because,
      ...ofOrder,
      success: OrderView
    }).annotate(OpenApi.Description, "From now on it is confirmed by an operator only."),
    HttpApiEndpoint.post("recordCash", "/orders/:id/cash", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, amount: sum, receivedAt: Schema.DateTimeUtc }),
      ...ofOrder,
      success: PaymentView
    }),
    HttpApiEndpoint.post("recordGivenBack", "/orders/:id/given-back", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, amount: sum, reason: Reason }),
      ...ofOrder,
      success: PaymentView
    }).annotate(OpenApi.Description, "Money which did not come through the payment provider was given back by hand."),
    HttpApiEndpoint.post("recordBankTransfer", "/bank-transfers", {
      headers: caller,
      payload: Schema.Struct(bankTransfer),
      error: problems,
      success: RecordedTransfer
    }).annotate(
      OpenApi.Description,
      "For people, and for a bank's notifications: its own id of the transfer counts once."
    ),
    HttpApiEndpoint.post("releaseEscrow", "/orders/:id/escrow/release", {
      headers: keyed,
      payload: because,
      ...ofOrder,
      success: PaymentView
    }).annotate(OpenApi.Description, "What is held for the order's sellers is theirs."),
    HttpApiEndpoint.get("getSeller", "/sellers/:id", { headers: caller, ...ofSeller, success: SellerAccountView }),
    HttpApiEndpoint.get("listSellerEntries", "/sellers/:id/entries", {
      headers: caller,
      query: page,
      ...ofSeller,
      success: success.get("ListSellerEntries")!.successSchema
    }),
    HttpApiEndpoint.post("setSellerFee", "/sellers/:id/fee", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, basisPoints: Schema.optionalKey(BasisPoints), reason: Reason }),
      ...ofSeller,
      success: SellerAccountView
    }).annotate(
      OpenApi.Description,
      "For orders captured from now on; without `basisPoints` the shop's usual fee again."
    ),
    HttpApiEndpoint.post("setPayoutAccount", "/sellers/:id/payout-account", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, account: PayoutAccount, reason: Reason }),
      ...ofSeller,
      success: SellerAccountView
    }),
    HttpApiEndpoint.post("startPayout", "/sellers/:id/payouts", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, period: PayoutPeriod }),
      ...ofSeller,
      success: success.get("StartPayout")!.successSchema
    }).annotate(OpenApi.Description, "A period is paid out once, for good."),
    HttpApiEndpoint.post("settlePayout", "/sellers/:id/payouts/settle", {
      headers: keyed,
      payload: Schema.Struct({ ...byKey, ...settledPayout }),
      ...ofSeller,
      success: SellerAccountView
    }).annotate(OpenApi.Description, "What became of a payout which is left to people."),
    HttpApiEndpoint.get("listPayouts", "/payouts", {
      headers: caller,
      query: {
        id: Schema.optionalKey(SellerId),
        period: Schema.optionalKey(PayoutPeriod),
        status: Schema.optionalKey(PayoutStatus),
        ...page
      },
      success: success.get("ListPayouts")!.successSchema,
      error: problems
    }),
    HttpApiEndpoint.get("listAudit", "/audit", {
      headers: caller,
      query: { subject: Schema.optionalKey(Schema.String), ...page },
      success: success.get("ListAudit")!.successSchema,
      error: problems
    })
  )
  .prefix("/api/v1/admin") {}

export class AuthHttp extends HttpApiGroup.make("auth").add(
  HttpApiEndpoint.post("guest", "/auth/guest", {
    success: Schema.Struct({ token: Schema.String, customerId: CustomerId, expiresAt: Schema.DateTimeUtcFromString }),
    error: problems
  }).annotate(
    OpenApi.Description,
    "A token for somebody who has not signed in. Refused where tokens are issued elsewhere."
  )
) {}

export class HttpContract extends HttpApi.make("cartwright")
  .add(CheckoutHttp)
  .add(OrdersHttp)
  .add(AdminHttp)
  .add(AuthHttp)
  .middleware(SchemaProblems)
  .annotate(HttpApi.PayloadParseOptions, strictly)
  .annotate(OpenApi.Title, "Cartwright")
  .annotate(
    OpenApi.Description,
    "The whole API is the typed RPC of the client package; these paths are for plain HTTP."
  ) {}
