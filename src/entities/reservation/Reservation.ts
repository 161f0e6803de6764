/** A checkout's claim on stock, all its lines together. Entity id: the checkout's id. REQUIREMENTS B.5. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { Sku, WarehouseId } from "../../domain/Ids.ts"
import { Quantity } from "../../domain/Quantity.ts"

/** What is wanted of one sku, wherever it comes from. */
export const Demand = Schema.Struct({ sku: Sku, quantity: Quantity })
export type Demand = typeof Demand.Type

/** A claim on units of one sku in one warehouse; `id` names it in the stock ledger. */
export const ReservedLine = Schema.Struct({
  id: Schema.String,
  sku: Sku,
  warehouseId: WarehouseId,
  quantity: Schema.Int
})
export type ReservedLine = typeof ReservedLine.Type

/** A line that could not be reserved, and how many units there were. */
export const Shortage = Schema.Struct({ sku: Sku, wanted: Schema.Int, have: Schema.Int })
export type Shortage = typeof Shortage.Type

const lines = { attempt: Schema.Int, lines: Schema.Array(ReservedLine) }

export const ReservationState = Schema.TaggedUnion({
  Absent: {},
  /** Claimed until `expiresAt`, the first instant at which it is expired. */
  Active: { ...lines, expiresAt: Schema.DateTimeUtc },
  /** Allocated to a paid order; no expiry any more. */
  Fulfilled: lines,
  Released: lines,
  Expired: lines,
  /** Committed, and given back before shipping. */
  Reversed: lines,
  /** Nothing was claimed: not all lines were there. */
  Refused: { attempt: Schema.Int, shortages: Schema.Array(Shortage) }
})
export type ReservationState = typeof ReservationState.Type

/** Lapsed at `expiresAt`, before it was committed. */
export class ReservationExpired extends Schema.TaggedError<ReservationExpired>()("ReservationExpired", {
  attempt: Schema.Int
}) {}

/** The command does not fit the status met, e.g. a commit after a release. */
export class ReservationConflict extends Schema.TaggedError<ReservationConflict>()("ReservationConflict", {
  status: Schema.String,
  command: Schema.String
}) {}

export const ReservationRefusal = Schema.Union([ReservationExpired, ReservationConflict])
export type ReservationRefusal = typeof ReservationRefusal.Type

/** Changed only by the processes of its checkout, which live beside it; others may look. */
export const Reservation = Entity.make("Reservation", [Rpc.make("GetReservation", { success: ReservationState })])
