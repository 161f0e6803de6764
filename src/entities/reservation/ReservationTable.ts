import { Schema } from "effect"
import { isoOf, type StateTable } from "../../runtime/Table.ts"
import { ReservationState } from "./Reservation.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ReservationState))

const statuses = {
  Active: "active",
  Fulfilled: "fulfilled",
  Released: "released",
  Expired: "expired",
  Reversed: "reversed",
  Refused: "refused"
} as const
const tags = Object.fromEntries(Object.entries(statuses).map(([tag, status]) => [status, tag]))

export const reservationTable: StateTable<ReservationState> = {
  name: "warehouse.reservations",
  columns: { attempt: "int", status: "text", lines: "jsonb", shortages: "jsonb", expires_at: "timestamptz" },
  immutable: [],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent reservation has no row")
    return {
      attempt: state.attempt,
      status: statuses[state._tag],
      lines: state._tag === "Refused" ? [] : state.lines,
      shortages: state._tag === "Refused" ? state.shortages : undefined,
      expires_at: state._tag === "Active" ? state.expiresAt : undefined
    }
  },
  fromRow: (row) =>
    decode({
      _tag: tags[String(row["status"])],
      attempt: row["attempt"],
      lines: row["lines"],
      shortages: row["shortages"] ?? undefined,
      expiresAt: isoOf(row["expires_at"])
    })
}
