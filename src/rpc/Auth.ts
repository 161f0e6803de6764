/** Who is calling: contract of the authentication. The verification itself is in AuthTokens.ts. REQ-SEC-04, REQ-API-07. */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type { CustomerId } from "../domain/Ids.ts"
import { AccessDenied, Unavailable } from "../domain/Refusals.ts"
import { Unauthenticated } from "./Edge.ts"

export const Role = Schema.Literals(["guest", "customer", "operator"])
export type Role = typeof Role.Type

/** The caller, from a verified token. */
export class Caller extends Context.Service<Caller, { readonly customerId: CustomerId; readonly role: Role }>()(
  "cartwright/rpc/Auth/Caller"
) {}

/**
 * Verifies the `authorization: Bearer ...` header of each call; the client sets it anew for each, so that a token is refreshed without
 * a reconnect. An `x-customer-id` header which is not the token's subject is `AccessDenied`; keys which cannot be fetched just now are
 * `Unavailable`.
 */
export class Authentication extends RpcMiddleware.Service<Authentication, { provides: Caller }>()(
  "cartwright/rpc/Auth/Authentication",
  { error: Schema.Union([Unauthenticated, AccessDenied, Unavailable]), requiredForClient: true }
) {}
