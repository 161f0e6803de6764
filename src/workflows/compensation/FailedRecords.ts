/** Where an operation that could not be undone is written down, in the unit of the step that failed. REQ-CPN-02, REQ-CPN-04. */
import { Effect } from "effect"
import { OrderId } from "../../domain/Ids.ts"
import type { Unavailable } from "../../domain/Refusals.ts"
import {
  type CompensationOperation,
  failedCompensationId
} from "../../entities/failedCompensation/FailedCompensation.ts"
import type { FailedCompensationDefinition } from "../../entities/failedCompensation/FailedCompensationActor.ts"
import type { Command } from "../../entities/failedCompensation/FailedCompensationDecider.ts"
import type { Cell } from "../../runtime/Actor.ts"
import type { Actors } from "../../runtime/Actors.ts"
import type { Transaction } from "../../runtime/Transaction.ts"

export type FailedRecord = Cell<FailedCompensationDefinition>

/** The record of an operation, which belongs into the unit's cells; the first one that is not resolved. */
export type FailedRecords = (
  orderId: string,
  operation: CompensationOperation,
  attempt: number
) => Effect.Effect<FailedRecord, Unavailable>

/** An operation which was resolved and failed again more often than this stays with its last record. */
const generationsMax = 20

export const make =
  (actors: Actors["Service"], definition: FailedCompensationDefinition): FailedRecords =>
  (orderId, operation, attempt) =>
    Effect.gen(function* () {
      const at = (generation: number) =>
        actors.cell(definition, failedCompensationId(OrderId.make(orderId), operation, attempt, generation))
      let record = yield* at(0)
      for (let generation = 1; record.state._tag === "Resolved" && generation < generationsMax; generation++) {
        record = yield* at(generation)
      }
      return record
    })

/** Writes it, unless it stands there already. */
export const leave = (
  transaction: Transaction,
  record: FailedRecord,
  content: Omit<Extract<Command, { readonly _tag: "Record" }>, "_tag">
): void => {
  if (transaction.state(record)._tag !== "Absent") return
  transaction.execute(record, "record", { _tag: "Record", ...content })
}
