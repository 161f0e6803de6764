/** Refusals which any call may meet at the edge, before or instead of its answer. REQ-API-08. */
import * as Schema from "effect/Schema"
import { IdempotencyConflict, InvalidRequest, Unavailable } from "../domain/Refusals.ts"

/** No token, or one that is forged, expired or for somebody else's shop. Nothing tells which. */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()(
  "Unauthenticated",
  {},
  { httpApiStatus: 401 }
) {}

/** Not answered within the node's limit. What came of it is unknown: repeat with the same key, and hear the first answer. REQ-GW-01. */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()(
  "RequestTimeout",
  { afterMs: Schema.Int },
  { httpApiStatus: 504 }
) {}

/** A failure nobody planned for. What happened stands in the node's log under `requestId`; nothing of it is told here. */
export class InternalError extends Schema.TaggedError<InternalError>()(
  "InternalError",
  { requestId: Schema.String },
  { httpApiStatus: 500 }
) {}

export const EdgeRefusal = Schema.Union([
  Unauthenticated,
  InvalidRequest,
  IdempotencyConflict,
  Unavailable,
  RequestTimeout,
  InternalError
])
export type EdgeRefusal = typeof EdgeRefusal.Type
