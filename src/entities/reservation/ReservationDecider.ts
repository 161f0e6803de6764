/** The reservation's state machine, pure: all lines or none, from the warehouses in order of their rank. */
import { DateTime, type Duration, Result, Schema } from "effect"
import { type Sku, WarehouseId } from "../../domain/Ids.ts"
import { OfflineMethod } from "../../domain/OfflineMethod.ts"
import type { DecisionContext } from "../../runtime/Actor.ts"
import type { Counters } from "../../runtime/Table.ts"
import {
  Demand,
  ReservationConflict,
  ReservationExpired,
  type ReservationRefusal,
  type ReservationState,
  ReservedLine,
  Shortage
} from "./Reservation.ts"

export const Command = Schema.TaggedUnion({
  /** `method` is absent where a provider is paid at once. */
  Reserve: { attempt: Schema.Int, lines: Schema.Array(Demand), method: Schema.optionalKey(OfflineMethod) },
  /** Moves the expiry behind the last capture retry, never closer. REQ-RSV-07. */
  Extend: {},
  Commit: {},
  Release: {},
  Expire: {},
  /** Gives committed stock back before it has shipped. */
  Reverse: {}
})
export type Command = typeof Command.Type

const lines = { attempt: Schema.Int, lines: Schema.Array(ReservedLine) }
export const Event = Schema.TaggedUnion({
  Reserved: { ...lines, expiresAt: Schema.DateTimeUtc },
  Refused: { attempt: Schema.Int, shortages: Schema.Array(Shortage) },
  Extended: { expiresAt: Schema.DateTimeUtc },
  Committed: {},
  Released: {},
  Expired: {},
  Reversed: {}
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, ReservationRefusal>

/** Units of a stock row which may still be promised. REQUIREMENTS B.6. */
export const sellable = ({ values }: Counters): number =>
  Math.max(0, values["on_hand"]! - values["reserved"]! - values["committed"]! - values["damaged"]!)

/** Warehouses which are closed have no rank: what they hold is not promised to anybody new. */
const open = (levels: ReadonlyArray<Counters>) => levels.filter(({ rank }) => rank >= 0)

/** One warehouse for the whole quantity if one has it, else from each in order of rank. */
export const allocate = (
  levels: ReadonlyArray<Counters>,
  quantity: number
): ReadonlyArray<{ readonly warehouseId: WarehouseId; readonly quantity: number }> | undefined => {
  const ranked = open(levels).sort((left, right) => left.rank - right.rank)
  const single = ranked.find((level) => sellable(level) >= quantity)
  if (single !== undefined) return [{ warehouseId: WarehouseId.make(single.part), quantity }]
  const parts: Array<{ warehouseId: WarehouseId; quantity: number }> = []
  let left = quantity
  for (const level of ranked) {
    const take = Math.min(left, sellable(level))
    if (take > 0) parts.push({ warehouseId: WarehouseId.make(level.part), quantity: take })
    left -= take
    if (left === 0) return parts
  }
  return undefined
}

/** How long a claim is held. A command says nothing of it, so that repeating one after a change of configuration is still the same. */
export interface ReservationLimits {
  /** From the claim on. N-007. */
  readonly reserveFor: Duration.Duration
  /** From the claim on, for orders which wait for their money or their confirmation: as long as those do. REQ-RSV-02. */
  readonly offline: Readonly<Record<OfflineMethod, Duration.Duration>>
  /** From the start of a capture on: at least as long as its retries take. */
  readonly captureWithin: Duration.Duration
}

const conflict = (state: ReservationState, command: Command): Decision =>
  Result.fail(new ReservationConflict({ status: state._tag, command: command._tag }))

const reserve = (
  command: Extract<Command, { readonly _tag: "Reserve" }>,
  { counters, id }: Pick<DecisionContext, "id" | "counters">,
  expiresAt: DateTime.Utc
): Decision => {
  const wanted = new Map<Sku, number>()
  for (const { quantity, sku } of command.lines) wanted.set(sku, (wanted.get(sku) ?? 0) + quantity)
  const claimed: Array<ReservedLine> = []
  const shortages: Array<Shortage> = []
  for (const [sku, quantity] of wanted) {
    const levels = counters(sku)
    const parts = allocate(levels, quantity)
    if (parts === undefined) {
      shortages.push({ sku, wanted: quantity, have: open(levels).reduce((sum, level) => sum + sellable(level), 0) })
    } else {
      for (const part of parts) claimed.push({ id: `${id}.${command.attempt}.${claimed.length}`, sku, ...part })
    }
  }
  return Result.succeed(
    shortages.length > 0
      ? [{ _tag: "Refused", attempt: command.attempt, shortages }]
      : [{ _tag: "Reserved", attempt: command.attempt, lines: claimed, expiresAt }]
  )
}

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: ReservationLimits) =>
  (state: ReservationState, command: Command, context: Pick<DecisionContext, "id" | "now" | "counters">): Decision => {
    switch (command._tag) {
      case "Reserve": {
        if (state._tag !== "Absent") {
          if (command.attempt === state.attempt) return Result.succeed([])
          if (command.attempt < state.attempt || state._tag === "Active" || state._tag === "Fulfilled") {
            return conflict(state, command)
          }
        }
        const within = command.method === undefined ? limits.reserveFor : limits.offline[command.method]
        return reserve(command, context, DateTime.addDuration(context.now, within))
      }
      case "Extend": {
        if (state._tag !== "Active") return conflict(state, command)
        if (DateTime.isGreaterThanOrEqualTo(context.now, state.expiresAt)) {
          return Result.fail(new ReservationExpired({ attempt: state.attempt }))
        }
        const expiresAt = DateTime.addDuration(context.now, limits.captureWithin)
        return Result.succeed(
          DateTime.isGreaterThan(expiresAt, state.expiresAt) ? [{ _tag: "Extended", expiresAt }] : []
        )
      }
      case "Commit":
        if (state._tag === "Fulfilled") return Result.succeed([])
        if (state._tag === "Expired") return Result.fail(new ReservationExpired({ attempt: state.attempt }))
        if (state._tag !== "Active") return conflict(state, command)
        return DateTime.isLessThan(context.now, state.expiresAt)
          ? Result.succeed([{ _tag: "Committed" }])
          : Result.fail(new ReservationExpired({ attempt: state.attempt }))
      case "Release":
        if (state._tag === "Active") return Result.succeed([{ _tag: "Released" }])
        return state._tag === "Fulfilled" ? conflict(state, command) : Result.succeed([])
      case "Expire":
        if (state._tag !== "Active") return state._tag === "Expired" ? Result.succeed([]) : conflict(state, command)
        return DateTime.isLessThan(context.now, state.expiresAt)
          ? conflict(state, command)
          : Result.succeed([{ _tag: "Expired" }])
      case "Reverse":
        if (state._tag === "Fulfilled") return Result.succeed([{ _tag: "Reversed" }])
        return state._tag === "Reversed" ? Result.succeed([]) : conflict(state, command)
    }
  }

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: ReservationState, event: Event): ReservationState => {
  if (event._tag === "Reserved") return { ...event, _tag: "Active" }
  if (event._tag === "Refused") return event
  if (state._tag === "Absent" || state._tag === "Refused") return state
  const claimed = { attempt: state.attempt, lines: state.lines }
  switch (event._tag) {
    case "Extended":
      return { ...claimed, _tag: "Active", expiresAt: event.expiresAt }
    case "Committed":
      return { ...claimed, _tag: "Fulfilled" }
    case "Released":
      return { ...claimed, _tag: "Released" }
    case "Expired":
      return { ...claimed, _tag: "Expired" }
    case "Reversed":
      return { ...claimed, _tag: "Reversed" }
  }
}
