/**
 * The transports of effect/rpc with a stricter door. By itself `RpcServer` answers what it cannot decode with a defect, which a client
 * cannot tell from a crash, and sends the text of defects to whoever called. Here a call which is not what its contract takes is
 * refused as `InvalidRequest`, and nothing leaves but what a contract names.
 */
import { Effect, Predicate, Schema } from "effect"
import { type RpcMessage, RpcSchema, RpcSerialization, type RpcServer } from "effect/rpc"
import { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { callerOf, type Places } from "./Admission.ts"
import { Api } from "./Api.ts"
import { InternalError } from "./Edge.ts"
import { fromSchemaError, strictly } from "./InvalidRequests.ts"
import { newRequestId } from "./RequestId.ts"

/** Refuses what the API does not take and what is too much for the node just now, and lets no defect out. */
export const guarded = (protocol: RpcServer.Protocol["Service"], admission: Places): RpcServer.Protocol["Service"] => {
  const { codecFor } = protocol
  const encodeRefusal = Schema.encodeUnknownSync(codecFor(Schema.Union([InvalidRequest, InternalError, Unavailable])))
  // The server decodes once more, and less strictly; that costs a microsecond.
  const checks = new Map(
    Array.from(Api.requests, ([tag, rpc]) => [tag, Schema.decodeUnknownEffect(codecFor(rpc.payloadSchema), strictly)])
  )
  const streams = new Set(
    Array.from(Api.requests).flatMap(([tag, rpc]) => (RpcSchema.isStreamSchema(rpc.successSchema) ? [tag] : []))
  )
  const failure = (requestId: string | number, refusal: InvalidRequest | InternalError | Unavailable) =>
    ({
      _tag: "Exit",
      requestId,
      exit: { _tag: "Failure", cause: [{ _tag: "Fail", error: encodeRefusal(refusal) }] }
    }) satisfies RpcMessage.ResponseExitEncoded
  const refuse = (clientId: number, requestId: string | number, refusal: InvalidRequest) =>
    protocol.send(clientId, failure(requestId, refusal))

  /** Encoded once, since the same one is given to many. */
  const encoded = new WeakMap<Unavailable, RpcMessage.ResponseExitEncoded["exit"]>()
  const refuseBusy = (clientId: number, requestId: string | number, busy: Unavailable) => {
    const exit = encoded.get(busy) ?? failure(requestId, busy).exit
    encoded.set(busy, exit)
    return protocol.send(clientId, { _tag: "Exit", requestId, exit })
  }

  type Write = (clientId: number, message: RpcMessage.FromClientEncoded) => Effect.Effect<void>

  const receive = (clientId: number, message: RpcMessage.FromClientEncoded | Malformed, write: Write) => {
    if (message._tag === "Malformed") {
      return refuse(clientId, message.requestId, new InvalidRequest({ field: message.field, message: message.message }))
    }
    if (message._tag !== "Request") return write(clientId, message)
    const check = checks.get(message.tag)
    if (check === undefined) {
      return refuse(clientId, message.id, new InvalidRequest({ field: "tag", message: "There is no such operation" }))
    }
    // The cheapest refusal: neither the payload nor the token has been looked at. `CallGuard` gives the place.
    const busy = streams.has(message.tag) ? undefined : admission.refusal(callerOf(message.headers))
    if (busy !== undefined) return refuseBusy(clientId, message.id, busy)
    return Effect.matchEffect(check(message.payload), {
      onFailure: (error) => refuse(clientId, message.id, fromSchemaError(error)),
      onSuccess: () => write(clientId, message)
    })
  }

  const send: RpcServer.Protocol["Service"]["send"] = (clientId, response, transferables) => {
    if (response._tag === "Defect") {
      return Effect.andThen(
        Effect.logError("A defect outside of any call", response.defect),
        protocol.send(clientId, { _tag: "Defect", defect: { name: "InternalError", message: "InternalError" } })
      )
    }
    if (response._tag !== "Exit" || response.exit._tag === "Success")
      return protocol.send(clientId, response, transferables)
    const { cause } = response.exit
    if (cause.some((reason) => reason._tag === "Fail")) return protocol.send(clientId, response, transferables)
    const defects = cause.filter((reason) => reason._tag === "Die").map((reason) => reason.defect)
    // An interrupted call was cut off by this node's end, or by its caller, who does not listen any more.
    if (defects.length === 0) {
      return protocol.send(clientId, failure(response.requestId, new Unavailable({ retryAfterMs: 100 })))
    }
    const requestId = newRequestId()
    return Effect.logError("A call failed outside of its handler", ...defects).pipe(
      Effect.annotateLogs({ requestId }),
      Effect.andThen(protocol.send(clientId, failure(response.requestId, new InternalError({ requestId }))))
    )
  }

  return { ...protocol, send, run: (write) => protocol.run((clientId, message) => receive(clientId, message, write)) }
}

/** What came instead of a message. `requestId` is empty when there was none to answer to. */
interface Malformed {
  readonly _tag: "Malformed"
  readonly requestId: string | number
  readonly field: string
  readonly message: string
}

/** A parser which never throws: each frame becomes messages of the right shape, or a `Malformed` for `guarded` to refuse. */
export const tolerant = (serialization: RpcSerialization.RpcSerialization["Service"]) =>
  RpcSerialization.RpcSerialization.of({
    ...serialization,
    makeUnsafe: () => {
      const parser = serialization.makeUnsafe()
      return {
        encode: parser.encode,
        decode: (data) => {
          try {
            return parser.decode(data).map(checked)
          } catch {
            return [malformed("", "", "Expected JSON")]
          }
        }
      }
    }
  })

const malformed = (requestId: string | number, field: string, message: string): Malformed => ({
  _tag: "Malformed",
  requestId,
  field,
  message
})

const checked = (message: unknown): unknown => {
  if (!Predicate.isObject(message)) return malformed("", "", "Expected a message")
  const { _tag, headers, id, payload, requestId, sampled, spanId, tag, traceId } = message
  switch (_tag) {
    case "Ping":
    case "Eof":
      return { _tag }
    case "Ack":
    case "Interrupt":
      return isId(requestId) ? { _tag, requestId } : malformed("", "requestId", "Expected an id")
    case "Request":
      if (!isId(id)) return malformed("", "id", "Expected an id")
      if (typeof tag !== "string") return malformed(id, "tag", "Expected the name of an operation")
      if (headers !== undefined && !isHeaders(headers)) return malformed(id, "headers", "Expected pairs of strings")
      return {
        _tag,
        id,
        tag,
        payload,
        headers: headers ?? [],
        ...(typeof traceId === "string" && typeof spanId === "string"
          ? { traceId, spanId, sampled: sampled === true }
          : {})
      }
    default:
      return malformed("", "_tag", "Expected Request, Ack, Interrupt, Ping or Eof")
  }
}

const isId = (value: unknown): value is string | number =>
  typeof value === "number" || (typeof value === "string" && value.length <= 128)

const isHeaders = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === "string"))
