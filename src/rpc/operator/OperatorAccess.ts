/** Who may make operators' calls, and that each of them is in the audit trail: contract. What it does is in OperatorAccessHandlers.ts. */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import type { CustomerId } from "../../domain/Ids.ts"
import { AccessDenied, Unavailable } from "../../domain/Refusals.ts"
import { Unauthenticated } from "../Edge.ts"

/** The operator who is calling, from a verified token. */
export class Operator extends Context.Service<Operator, { readonly by: CustomerId }>()(
  "cartwright/rpc/operator/OperatorAccess/Operator"
) {}

/**
 * Lets operators in, and nobody else. Every call leaves a row in the audit trail with its outcome, also one that is refused at the door;
 * what cannot be written there is not answered. REQ-ADM-03, REQ-SEC-06.
 */
export class OperatorAccess extends RpcMiddleware.Service<OperatorAccess, { provides: Operator }>()(
  "cartwright/rpc/operator/OperatorAccess",
  { error: Schema.Union([Unauthenticated, AccessDenied, Unavailable]) }
) {}

/** On an operation whose effect writes its own row in the audit trail, in the same unit: then its success is not written twice. */
export const AuditedWithEffect: Context.Reference<boolean> = Context.Reference(
  "cartwright/rpc/operator/AuditedWithEffect",
  { defaultValue: () => false }
)
