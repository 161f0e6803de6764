import { Result } from "effect"
import type { ActorDefinition } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Reservation, ReservationRefusal, type ReservationState } from "./Reservation.ts"
import { type Command, decide, Event, evolve, type ReservationLimits } from "./ReservationDecider.ts"
import { reservationTable } from "./ReservationTable.ts"
import { stockChanges } from "./StockCounters.ts"

/** Set while the claim is active; the checkout process answers it, since a claim under a paid order must not lapse. */
export const expiryTimer = "expiry"

export type ReservationDefinition = ActorDefinition<ReservationState, Command, Event, ReservationRefusal>

export const make = (limits: ReservationLimits): ReservationDefinition => ({
  type: Reservation.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: ReservationRefusal,
  table: reservationTable,
  timers: (state) => (state._tag === "Active" ? { [expiryTimer]: { dueAt: state.expiresAt } } : {}),
  counterChanges: stockChanges
})

export const hosting = (
  definition: ReservationDefinition
): ActorOptions<ReservationDefinition, typeof Reservation> => ({
  definition,
  contract: Reservation,
  reply: (state) => state as never,
  questions: { GetReservation: (state) => Result.succeed(state) }
})
