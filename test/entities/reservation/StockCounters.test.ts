import { assert, it } from "@effect/vitest"
import { Arbitrary, DateTime, Schema } from "effect"
import { CheckoutId } from "../../../src/domain/Ids.ts"
import type { ReservationState } from "../../../src/entities/reservation/Reservation.ts"
import { Command } from "../../../src/entities/reservation/ReservationDecider.ts"
import { stockChanges, stockCounters } from "../../../src/entities/reservation/StockCounters.ts"
import type { Counters } from "../../../src/runtime/Table.ts"
import { level, start } from "../../fixtures/Builders.ts"
import { entryOf } from "../../fixtures/Histories.ts"
import { markdown, step } from "../../fixtures/Machine.ts"
import { reservationMachine as machine } from "../../fixtures/machines/ReservationMachine.ts"
import { table } from "../MachineLaws.ts"

it("what each event does to the counters of the units it is about (REQUIREMENTS B.6)", () => {
  const seen = new Map<string, string>()
  for (const state of Object.values(machine.states)) {
    for (const given of Object.values(machine.commands)) {
      let before = state
      for (const event of step(machine, state, given).events) {
        const [change] = stockChanges(event, before)
        const { deltas = {}, operation = "-" } = change ?? {}
        seen.set(
          event._tag,
          [operation, ...stockCounters.counters.map((name) => deltas[name] ?? "-")].map(String).join(" ")
        )
        before = machine.definition.evolve(before, event)
      }
    }
  }
  assert.strictEqual(
    markdown(
      ["two units", "ledger", ...stockCounters.counters],
      [...seen].map(([event, cells]) => [event, ...cells.split(" ")])
    ),
    table(`
      | two units | ledger  | on_hand | reserved | committed | damaged |
      | --------- | ------- | ------- | -------- | --------- | ------- |
      | Reserved  | reserve | -       | 2        | -         | -       |
      | Refused   | -       | -       | -        | -         | -       |
      | Extended  | -       | -       | -        | -         | -       |
      | Committed | commit  | -       | -2       | 2         | -       |
      | Released  | release | -       | -2       | -         | -       |
      | Expired   | expire  | -       | -2       | -         | -       |
      | Reversed  | reverse | -       | -        | -2        | -       |
    `)
  )
})

const checkouts = ["checkout-1", "checkout-2", "checkout-3"].map((id) => CheckoutId.make(id))
const entries = entryOf(Command)
const histories = Arbitrary.array(
  Arbitrary.all({
    entry: entries,
    who: Arbitrary.schema(Schema.Literals([0, 1, 2])),
    goes: Arbitrary.schema(Schema.Boolean)
  }),
  { minLength: 60, maxLength: 60 }
)

it.prop(
  "after any history of several checkouts over one stock, the counters are what the claims say, and never negative (REQ-INV-01, REQ-INV-02, T-INV-03)",
  [histories],
  ([history]) => {
    const levels: Array<Counters & { readonly values: Record<string, number> }> = [
      level("MUG-01", "BERLIN", 900, { rank: 1 }),
      level("MUG-01", "PARIS", 600, { rank: 2 }),
      level("TEE-RED", "BERLIN", 500, { rank: 1, damaged: 3 }),
      level("TEE-BLUE", "PARIS", 999, { rank: -1 }),
      level("PEN", "PARIS", 2000, { rank: 2 })
    ]
    const onHand = levels.map(({ values }) => values["on_hand"])
    const ledger = new Set<string>()
    const states: Array<ReservationState> = checkouts.map(() => ({ _tag: "Absent" }))
    let now = start
    for (const { entry, goes, who } of history) {
      if (!goes) continue
      now = DateTime.add(now, { milliseconds: entry.afterMs })
      const actor = {
        ...machine,
        id: checkouts[who]!,
        counters: (sku: string) => levels.filter(({ key }) => key === sku)
      }
      let state = states[who]!
      for (const event of step(actor, state, { command: entry.command, now }).events) {
        for (const { deltas, key, operation, part, reference } of stockChanges(event, state)) {
          const row = levels.find((one) => one.key === key && one.part === part)
          assert(row !== undefined)
          for (const [name, delta] of Object.entries(deltas)) row.values[name]! += delta
          const place = `${operation} ${reference}`
          assert.isFalse(ledger.has(place), `${place} is in the ledger already`)
          ledger.add(place)
        }
        state = machine.definition.evolve(state, event)
      }
      states[who] = state
      assert.deepStrictEqual(
        levels.map(({ values }) => values["on_hand"]),
        onHand,
        "claims move nothing"
      )
      for (const { key, part, values } of levels) {
        const held = (tag: ReservationState["_tag"]) =>
          states
            .flatMap((one) => (one._tag === tag && "lines" in one ? one.lines : []))
            .filter(({ sku, warehouseId }) => sku === key && warehouseId === part)
            .reduce((sum, { quantity }) => sum + quantity, 0)
        assert.strictEqual(values["reserved"], held("Active"), `reserved ${key} in ${part}`)
        assert.strictEqual(values["committed"], held("Fulfilled"), `committed ${key} in ${part}`)
        assert.isTrue(values["reserved"]! + values["committed"]! + values["damaged"]! <= values["on_hand"]!)
      }
    }
  }
)
