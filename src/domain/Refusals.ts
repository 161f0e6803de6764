/** Refusals which any command may meet, whatever it is about. */
import { Schema } from "effect"

/** Not now: overloaded, moving between nodes, or the database is away. Repeat with the same key after `retryAfterMs`. */
export class Unavailable extends Schema.TaggedError<Unavailable>()(
  "Unavailable",
  { retryAfterMs: Schema.Int },
  { httpApiStatus: 503 }
) {}

/** The key was used before, for something else. REQ-GEN-03. */
export class IdempotencyConflict extends Schema.TaggedError<IdempotencyConflict>()(
  "IdempotencyConflict",
  { key: Schema.String },
  { httpApiStatus: 409 }
) {}

/** Not the caller's, or not there at all: the answer does not tell which. REQ-CHK-03. */
export class AccessDenied extends Schema.TaggedError<AccessDenied>()("AccessDenied", {}, { httpApiStatus: 403 }) {}

/** There is nothing under this id; said only to those who may see everything. */
export class NotFound extends Schema.TaggedError<NotFound>()(
  "NotFound",
  { id: Schema.String },
  { httpApiStatus: 404 }
) {}

/** The command does not fit the status met. */
export class IllegalTransition extends Schema.TaggedError<IllegalTransition>()(
  "IllegalTransition",
  { status: Schema.String, command: Schema.String },
  { httpApiStatus: 409 }
) {}

/** What was sent is not what the operation takes; `field` is where, as a path such as `lines[0].quantity`. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()(
  "InvalidRequest",
  { field: Schema.String, message: Schema.String },
  { httpApiStatus: 400 }
) {}

/** The named service had not answered after `afterMs`. Distinct from any answer of the business. REQ-TMO-02. */
export class ServiceTimeout extends Schema.TaggedError<ServiceTimeout>()(
  "ServiceTimeout",
  { service: Schema.Literals(["payment", "shipping", "warehouse"]), afterMs: Schema.Int },
  { httpApiStatus: 504 }
) {}
