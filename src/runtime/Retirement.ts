/** The end of an actor that was kept for long enough: its row and its past go, and a later one under the same id begins anew. */
import { Effect } from "effect"
import type { IdempotencyConflict, Unavailable } from "../domain/Refusals.ts"
import type { AnyDefinition, Cell } from "./Actor.ts"
import type { Journal } from "./Journal.ts"
import { clearTimers, type Part } from "./Table.ts"

const removeRow = (table: string): Part => ({
  name: `retire ${table}`,
  table,
  action: "remove",
  guarded: true,
  identity: ["id"],
  // Only what nobody has changed since it was found to be over.
  sql: (parameter) =>
    `delete from ${table} t using jsonb_to_recordset($${parameter}::text::jsonb) as x(id text, expected int) where t.id = x.id and t.version = x.expected returning 1`
})

const parts = new Map<string, Part>()
const partOf = (table: string): Part => {
  const part = parts.get(table) ?? removeRow(table)
  parts.set(table, part)
  return part
}

const removeHistory: Part = {
  name: "retire history",
  table: "runtime.history",
  action: "remove",
  guarded: false,
  identity: ["actor_id", "actor_type"],
  sql: (parameter) =>
    `delete from runtime.history t using jsonb_to_recordset($${parameter}::text::jsonb) as x(actor_id text, actor_type text) where t.actor_id = x.actor_id and t.actor_type = x.actor_type returning 1`
}

/** `timer` is the one which said that its time has come. */
export const retire = <D extends AnyDefinition>(
  journal: Journal["Service"],
  cell: Cell<D>,
  timer: string
): Effect.Effect<void, Unavailable | IdempotencyConflict> =>
  journal
    .unit<void>({
      cells: [cell as unknown as Cell],
      cause: `timer ${timer}`,
      body: ({ write }) => {
        const address = { actor_id: cell.id, actor_type: cell.definition.type }
        // Another node may have been first.
        if (cell.version > 0) write(partOf(cell.definition.table.name), { id: cell.id, expected: cell.version })
        write(removeHistory, address)
        write(clearTimers, { ...address, name: timer })
      }
    })
    .pipe(
      Effect.andThen(
        Effect.sync(() => {
          cell.state = cell.definition.initial
          cell.version = 0
          cell.keys = new Map()
          cell.keysComplete = true
          cell.newKeys = undefined
        })
      )
    )
