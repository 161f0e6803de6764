/** Answers plain HTTP by the same handlers, behind the same guard, as the typed RPC. */
import { randomUUID } from "node:crypto"
import { Duration, Effect, flow, Layer, Redacted, Schema, SchemaAST } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiMiddleware, HttpApiScalar } from "effect/http-api"
import { RpcMiddleware, RpcTest } from "effect/rpc"
import { type CheckoutId, CustomerId, type IdempotencyKey } from "../../domain/Ids.ts"
import { AccessDenied, InvalidRequest } from "../../domain/Refusals.ts"
import { Api, type Refusal } from "../Api.ts"
import { Authentication } from "../Auth.ts"
import { AuthTokens } from "../AuthTokens.ts"
import { GuardedApi } from "../CallGuard.ts"
import { InternalError } from "../Edge.ts"
import { explanations } from "../Explanations.ts"
import { fromSchemaError } from "../InvalidRequests.ts"
import { newRequestId, requestIdHeader } from "../RequestId.ts"
import { HttpContract, type Problem, problems, SchemaProblems } from "./HttpContract.ts"

/** How long a guest stays the same guest: as long as an idle cart is kept. REQ-CART-05. */
export const guestsFor = Duration.days(30)

/** Calls the API within this process: through guard, authentication and handler, without any bytes. */
const makeLocal = RpcTest.makeClient(GuardedApi, { disableFatalDefects: true }).pipe(
  Effect.provide(RpcMiddleware.layerClient(Authentication, ({ next, request }) => next(request)))
)

const checkout = HttpApiBuilder.group(
  HttpContract,
  "checkout",
  Effect.fnUntraced(function* (handlers) {
    const local = yield* makeLocal
    return handlers.handleAll({
      confirm: ({ headers, payload }) =>
        Effect.gen(function* () {
          const checkoutId = yield* agreed<CheckoutId>("checkoutId", payload.checkoutId, headers["x-session-id"])
          const key = yield* agreed<IdempotencyKey>("key", payload.key, headers["idempotency-key"])
          const { expectedTotal } = payload
          return yield* local.ConfirmCheckout(
            { checkoutId, key, ...(expectedTotal === undefined ? {} : { expectedTotal }) },
            yield* callerHeaders
          )
        }).pipe(asProblems),
      confirmStatus: ({ headers, query }) =>
        Effect.gen(function* () {
          const checkoutId = yield* agreed<CheckoutId>("session_id", query.session_id, headers["x-session-id"])
          return yield* local.GetConfirmStatus({ checkoutId }, yield* callerHeaders)
        }).pipe(asProblems),
      validateInventory: ({ headers, query }) =>
        Effect.gen(function* () {
          const checkoutId = yield* agreed<CheckoutId>("session_id", query.session_id, headers["x-session-id"])
          return yield* local.ValidateInventory({ checkoutId }, yield* callerHeaders)
        }).pipe(asProblems)
    })
  })
)

const orders = HttpApiBuilder.group(
  HttpContract,
  "orders",
  Effect.fnUntraced(function* (handlers) {
    const local = yield* makeLocal
    return handlers.handle("getOrder", ({ params }) =>
      Effect.flatMap(callerHeaders, (caller) => local.GetOrder({ orderId: params.id }, caller)).pipe(asProblems)
    )
  })
)

const admin = HttpApiBuilder.group(
  HttpContract,
  "admin",
  Effect.fnUntraced(function* (handlers) {
    const local = yield* makeLocal
    type Options = Effect.Success<typeof callerHeaders>
    const ask = <A, E extends Refusal, R>(call: (caller: Options) => Effect.Effect<A, E, R>) =>
      asProblems(Effect.flatMap(callerHeaders, call))
    interface Keyed {
      readonly headers: { readonly "idempotency-key"?: IdempotencyKey }
      readonly payload: { readonly key?: IdempotencyKey }
    }
    /** A command, with its key from the body or the header. */
    const command = <A, E extends Refusal, R>(
      { headers, payload }: Keyed,
      call: (key: IdempotencyKey, caller: Options) => Effect.Effect<A, E, R>
    ) =>
      asProblems(
        Effect.gen(function* () {
          const key = yield* agreed<IdempotencyKey>("key", payload.key, headers["idempotency-key"])
          return yield* call(key, yield* callerHeaders)
        })
      )
    return handlers.handleAll({
      listCompensations: ({ query }) => ask((caller) => local.ListFailedCompensations(query, caller)),
      getCompensation: ({ params }) => ask((caller) => local.GetFailedCompensation(params, caller)),
      retryCompensation: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.RetryCompensation({ key, id }, caller)),
      resolveCompensation: ({ params: { id }, ...request }) =>
        command(request, (key, caller) =>
          local.ResolveCompensation({ key, id, reason: request.payload.reason }, caller)
        ),
      listParked: ({ query }) => ask((caller) => local.ListParked(query, caller)),
      replayParked: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.ReplayParked({ key, id }, caller)),
      closeParked: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.CloseParked({ key, id, reason: request.payload.reason }, caller)),
      listAlerts: ({ query }) => ask((caller) => local.ListAlerts(query, caller)),
      acknowledgeAlert: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.AcknowledgeAlert({ key, id }, caller)),
      clearAlert: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.ClearAlert({ key, id, reason: request.payload.reason }, caller)),
      confirmCashOnDelivery: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.ConfirmCashOnDelivery({ key, id }, caller)),
      holdCashOnDelivery: ({ params: { id }, ...request }) =>
        command(request, (key, caller) =>
          local.HoldCashOnDelivery({ key, id, reason: request.payload.reason }, caller)
        ),
      recordCash: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => {
          const { amount, receivedAt } = request.payload
          return local.RecordCash({ key, id, amount, receivedAt }, caller)
        }),
      recordGivenBack: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => {
          const { amount, reason } = request.payload
          return local.RecordGivenBack({ key, id, amount, reason }, caller)
        }),
      recordBankTransfer: ({ payload }) => ask((caller) => local.RecordBankTransfer(payload, caller)),
      releaseEscrow: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.ReleaseEscrow({ key, id, reason: request.payload.reason }, caller)),
      getSeller: ({ params }) => ask((caller) => local.GetSellerAccount(params, caller)),
      listSellerEntries: ({ params, query }) =>
        ask((caller) => local.ListSellerEntries({ ...params, ...query }, caller)),
      setSellerFee: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => {
          const { basisPoints, reason } = request.payload
          return local.SetSellerFee({ key, id, reason, ...(basisPoints === undefined ? {} : { basisPoints }) }, caller)
        }),
      setPayoutAccount: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => {
          const { account, reason } = request.payload
          return local.SetPayoutAccount({ key, id, account, reason }, caller)
        }),
      startPayout: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => local.StartPayout({ key, id, period: request.payload.period }, caller)),
      settlePayout: ({ params: { id }, ...request }) =>
        command(request, (key, caller) => {
          const { currency, period, reason, reference, status } = request.payload
          return local.SettlePayout({ key, id, currency, period, reason, reference, status }, caller)
        }),
      listPayouts: ({ query }) => ask((caller) => local.ListPayouts(query, caller)),
      listAudit: ({ query }) => ask((caller) => local.ListAudit(query, caller))
    })
  })
)

const auth = HttpApiBuilder.group(
  HttpContract,
  "auth",
  Effect.fnUntraced(function* (handlers) {
    const { issue } = yield* AuthTokens
    return handlers.handle("guest", () =>
      Effect.gen(function* () {
        if (issue === undefined) return yield* new AccessDenied()
        const customerId = CustomerId.make(`guest-${randomUUID()}`)
        const { expiresAt, token } = yield* issue({ customerId, role: "guest", timeToLive: guestsFor })
        return { token: Redacted.value(token), customerId, expiresAt }
      }).pipe(asProblems)
    )
  })
)

const schemaProblems = HttpApiMiddleware.layerSchemaErrorTransform(SchemaProblems, (error) =>
  error.kind === "Body" || error.kind === "ResponseHeaders"
    ? Effect.andThen(
        Effect.logError("A response does not fit its contract", error.cause),
        asProblems(Effect.flatMap(requestId, (id) => new InternalError({ requestId: id })))
      )
    : asProblems(Effect.fail(fromSchemaError(error.cause)))
)

/** The routes of `HttpContract`, and their description for machines and for people. */
export const routes = Layer.merge(
  HttpApiBuilder.layer(HttpContract, { openapiPath: "/openapi.json" }),
  // The default fonts come from somebody else's server.
  HttpApiScalar.layer(HttpContract, { path: "/docs", scalar: { withDefaultFonts: false } })
).pipe(Layer.provide([checkout, orders, admin, auth]), Layer.provide(schemaProblems))

/** The headers of this request, which say who calls. */
const callerHeaders = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => ({ headers }))

const requestId = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ headers }) => headers[requestIdHeader] ?? newRequestId()
)

/** A value that may stand in two places: it must be in one, and the same in both. */
const agreed = <A extends string>(
  field: string,
  one: A | undefined,
  other: A | undefined
): Effect.Effect<A, InvalidRequest> => {
  const value = one ?? other
  if (value === undefined) return Effect.fail(new InvalidRequest({ field, message: "Missing key" }))
  return other !== undefined && other !== value
    ? Effect.fail(new InvalidRequest({ field, message: "Expected the same as in the header" }))
    : Effect.succeed(value)
}

const asProblems = <A, E extends Refusal, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Problem, R | HttpServerRequest.HttpServerRequest> =>
  Effect.catch(effect, (refusal) =>
    Effect.gen(function* () {
      if ("retryAfterMs" in refusal) {
        const retryAfter = String(Math.ceil(refusal.retryAfterMs / 1000))
        yield* HttpEffect.appendPreResponseHandler((_, response) =>
          Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", retryAfter))
        )
      }
      return yield* Effect.fail(problemOf(refusal, yield* requestId))
    })
  )

const encodeRefusal = flow(
  Schema.encodeUnknownSync(
    Schema.toCodecJson(Schema.Union(Array.from(Api.requests.values(), (rpc) => rpc.errorSchema)))
  ),
  Schema.decodeUnknownSync(Schema.Record(Schema.String, Schema.Json))
)

const problemOf = (refusal: Refusal, id: string): Problem => {
  const { message, retryable } = explanations[refusal._tag]
  const { [tagKey]: _, ...details } = encodeRefusal(refusal)
  return { status: statusOf(refusal), code: refusal._tag, title: message, requestId: id, retryable, details }
}

const tagKey = "_tag"

/** As the class of the refusal says. */
const statusOf = ({ constructor }: Refusal): Problem["status"] => {
  const declared = Schema.isSchema(constructor) ? SchemaAST.resolveAt("httpApiStatus")(constructor.ast) : undefined
  return statuses.find((status) => status === declared) ?? 500
}
const statuses = problems.map(({ fields }) => fields.status.literal)
