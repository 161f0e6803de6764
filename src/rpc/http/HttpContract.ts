/** The part of the API which answers to plain HTTP and JSON, at the paths of REQUIREMENTS A.5. Described at `/openapi.json`. REQ-GEN-22. */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema, OpenApi } from "effect/http-api"
import { CheckoutId, CustomerId, IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { Money } from "../../domain/Money.ts"
import { OrderView } from "../../entities/order/Order.ts"
import { Confirmation, StockCheck } from "../../workflows/checkout/Checkout.ts"
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
  .add(AuthHttp)
  .middleware(SchemaProblems)
  .annotate(HttpApi.PayloadParseOptions, strictly)
  .annotate(OpenApi.Title, "Cartwright")
  .annotate(
    OpenApi.Description,
    "The whole API is the typed RPC of the client package; these paths are for plain HTTP."
  ) {}
