import { assert, describe, it } from "@effect/vitest"
import { type ActorHistory, knownActors, problemsOf } from "../../chaos/HistoryCheck.ts"
import type { Row } from "../../src/runtime/Table.ts"
import { type Entry, historyOf, play } from "../fixtures/Histories.ts"
import { type AnyMachine } from "../fixtures/Machine.ts"
import { machines } from "../fixtures/machines/Machines.ts"
import { orderMachine } from "../fixtures/machines/OrderMachine.ts"
import { paymentMachine } from "../fixtures/machines/PaymentMachine.ts"
import { stored, written } from "../fixtures/StoredRow.ts"

/** What a journal leaves of it in the tables. */
const leftBy = (machine: AnyMachine, entries: ReadonlyArray<Entry<unknown>>): ActorHistory => {
  const { definition, id } = machine
  const { table } = definition
  let row: Row | undefined
  const transitions: Array<ActorHistory["transitions"][number]> = []
  for (const { command, events, refusal, state } of play(machine, entries)) {
    // What does not exist has no memory.
    if (row === undefined && events.length === 0) continue
    row = stored(table, table.toRow(state, id), row)
    transitions.push({
      seq: transitions.length + 1,
      command: command._tag,
      events: written(events) as ReadonlyArray<unknown>,
      refused: refusal !== undefined
    })
  }
  return { type: definition.type, id, transitions, row: row && { ...row, version: transitions.length } }
}

describe("the check of histories", () => {
  it("knows every actor with a machine", () => {
    assert.sameMembers(
      knownActors.map(({ definition }) => definition.type),
      machines.map(({ machine }) => machine.definition.type)
    )
  })

  for (const { command, machine } of machines) {
    it.prop(`passes whatever a ${machine.definition.type} goes through`, [historyOf(command)], ([entries]) => {
      const actor = leftBy(machine, entries)
      if (actor.row !== undefined) assert.deepStrictEqual(problemsOf(actor), [])
    })
  }

  const { Cancel, Confirm, Place } = orderMachine.commands
  const placed = leftBy(
    orderMachine,
    [Place!, Confirm!].map((given) => ({ command: given.command, afterMs: 0 }))
  )
  const event = (given: typeof Cancel) =>
    written(
      play(
        orderMachine,
        [Place!, given!].map(({ command }) => ({ command, afterMs: 0 }))
      )[1]!.events
    )

  it("finds a gap, and a number that stands twice", () => {
    assert.deepStrictEqual(problemsOf(placed), [])
    const [first, second] = placed.transitions
    assert.lengthOf(problemsOf({ ...placed, transitions: [first!, { ...second!, seq: 3 }] }), 1)
    assert.lengthOf(problemsOf({ ...placed, transitions: [first!, { ...second!, seq: 1 }] }), 1)
    assert.lengthOf(problemsOf({ ...placed, type: "Unheard", transitions: [{ ...second!, seq: 2 }] }), 1)
  })

  it("finds a move which its table forbids", () => {
    const [first, second] = placed.transitions
    const cancelled = { seq: 2, command: "Cancel", events: event(Cancel) as ReadonlyArray<unknown>, refused: false }
    const problems = problemsOf({ ...placed, transitions: [first!, cancelled, { ...second!, seq: 3 }] })
    assert.isTrue(
      problems.some((problem) => problem.includes("made confirmed of cancelled")),
      problems.join("\n")
    )
  })

  it("finds a row which its history does not lead to", () => {
    assert.lengthOf(problemsOf({ ...placed, row: { ...placed.row, status: "cancelled", reason: "order_expired" } }), 1)
    assert.lengthOf(problemsOf({ ...placed, row: { ...placed.row, version: 3 } }), 1)
    assert.lengthOf(problemsOf({ ...placed, row: undefined }), 1)
  })

  it("finds money that moved where it must not", () => {
    const commands = ["Begin 1", "IntentCreated", "Authorized", "Voided"].map((name) => paymentMachine.commands[name]!)
    const voided = leftBy(
      paymentMachine,
      commands.map(({ command }) => ({ command, afterMs: 0 }))
    )
    assert.deepStrictEqual(problemsOf(voided), [])
    const captured = { _tag: "Captured", amount: "1000", at: "2026-11-20T10:00:00.000Z" }
    const problems = problemsOf({
      ...voided,
      transitions: [...voided.transitions, { seq: 5, command: "Captured", events: [captured], refused: false }]
    })
    assert.isTrue(
      problems.some((problem) => problem.includes("made captured of voided")),
      problems.join("\n")
    )
  })
})
