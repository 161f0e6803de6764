/** Lets operators in and writes down what they did: the one place which every operator's call goes through, whichever way it came. */
import { Cause, Clock, Context, Effect, Exit, Layer, Predicate, Schema } from "effect"
import type { Rpc } from "effect/rpc"
import { AccessDenied, Unavailable } from "../../domain/Refusals.ts"
import { AuditTrail, type AuditEntry } from "../../runtime/AuditTrail.ts"
import { AuthTokens, identify } from "../AuthTokens.ts"
import { requestIdOf } from "../RequestId.ts"
import { AuditedWithEffect, Operator, OperatorAccess } from "./OperatorAccess.ts"

export const layer: Layer.Layer<OperatorAccess, never, AuthTokens | AuditTrail> = Layer.effect(
  OperatorAccess,
  Effect.gen(function* () {
    const tokens = yield* AuthTokens
    const { record } = yield* AuditTrail
    const admit = yield* doorkeeper

    /** Who is not let in may knock as often as they like: what is written of it is bounded, and never keeps their answer. */
    const turnedAway = (entry: Omit<AuditEntry, "at">) =>
      Effect.flatMap(admit, ({ suppressed, written }) =>
        written
          ? record(suppressed === 0 ? entry : { ...entry, details: { ...Object(entry.details), suppressed } })
          : Effect.void
      ).pipe(Effect.catchCause((cause) => Effect.logWarning("A refused call of an operator is not audited", cause)))

    return OperatorAccess.of((effect, { headers, payload, rpc }) =>
      Effect.gen(function* () {
        const entry = { operation: rpc._tag, ...contentOf(rpc, payload), requestId: requestIdOf(headers) }
        const { customerId: by, role } = yield* identify(tokens, headers).pipe(
          Effect.tapError((refusal) =>
            refusal._tag === "Unavailable"
              ? Effect.void
              : turnedAway({ ...entry, actor: "anonymous", role: "anonymous", outcome: refusal._tag })
          )
        )
        if (role !== "operator") {
          yield* turnedAway({ ...entry, actor: by, role, outcome: "AccessDenied" })
          return yield* new AccessDenied()
        }
        const done = Context.get(rpc.annotations, AuditedWithEffect)
        return yield* Effect.provideService(effect, Operator, { by }).pipe(
          // Also one that ran out of time: what was asked for is known, and that its outcome is not.
          Effect.onExit((exit) =>
            Exit.isSuccess(exit) && done
              ? Effect.void
              : Effect.mapError(
                  record({ ...entry, actor: by, role, outcome: outcomeOf(exit) }),
                  () => new Unavailable({ retryAfterMs: 1000 })
                )
          )
        )
      })
    )
  })
)

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "done"
  const failure = exit.cause.reasons.find(({ _tag }) => _tag === "Fail")
  if (failure?._tag === "Fail" && Predicate.hasProperty(failure.error, "_tag")) return String(failure.error._tag)
  return Cause.hasInterruptsOnly(exit.cause) ? "Interrupted" : "InternalError"
}

const detailsMax = 4000

/** What was asked for, and of which thing. */
const contentOf = (rpc: Rpc.AnyWithProps, payload: unknown): Pick<AuditEntry, "subject" | "details"> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of all operations at once the compiler knows nothing
  const codec = Schema.toCodecJson(rpc.payloadSchema as unknown as Schema.Codec<unknown, unknown>)
  const details = Schema.encodeUnknownSync(codec)(payload)
  const subject = Predicate.hasProperty(payload, "id") ? String(payload.id) : undefined
  const long = JSON.stringify(details).length > detailsMax
  return { details: long ? { cut: JSON.stringify(details).slice(0, detailsMax) } : details, subject }
}

/** Rows a minute at the most about those who are turned away; the next one tells how many were left out. */
const turnedAwayMax = 200

const doorkeeper = Effect.sync(() => {
  let minute = 0
  let count = 0
  let suppressed = 0
  return Effect.map(Clock.currentTimeMillis, (now) => {
    const current = Math.floor(now / 60_000)
    if (current !== minute) {
      minute = current
      count = 0
    }
    if (count >= turnedAwayMax) {
      suppressed++
      return { written: false, suppressed: 0 }
    }
    count++
    const told = { written: true, suppressed }
    suppressed = 0
    return told
  })
})
