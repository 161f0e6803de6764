import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Sku } from "../../../src/domain/Ids.ts"
import { Demand } from "../../../src/entities/reservation/Reservation.ts"
import { allocate, sellable } from "../../../src/entities/reservation/ReservationDecider.ts"
import type { Counters } from "../../../src/runtime/Table.ts"
import { level, line, mug, start, tee } from "../../fixtures/Builders.ts"
import { step } from "../../fixtures/Machine.ts"
import { reservationMachine } from "../../fixtures/machines/ReservationMachine.ts"

/** Where a quantity comes from, e.g. `BERLIN 2, PARIS 1`. */
const from = (levels: ReadonlyArray<Counters>, quantity: number): string =>
  allocate(levels, quantity)
    ?.map((part) => `${part.warehouseId} ${part.quantity}`)
    .join(", ") ?? "short"

const reserve = (levels: ReadonlyArray<Counters>, lines: ReadonlyArray<Demand>) =>
  step(
    { ...reservationMachine, counters: (sku) => levels.filter(({ key }) => key === sku) },
    { _tag: "Absent" },
    { command: { _tag: "Reserve", attempt: 1, lines }, now: start }
  ).state

const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
const anyLevels = Schema.Array(
  Schema.Struct({ sku: Schema.Literals([mug, tee]), free: count, taken: count, open: Schema.Boolean })
)
/** Any warehouses, in any order, each with a rank of its own, some of them closed. */
const levels: Arbitrary.Arbitrary<ReadonlyArray<Counters>> = Arbitrary.map(Arbitrary.schema(anyLevels), (drawn) =>
  drawn
    .map(({ free, open, sku, taken }, index) =>
      level(sku, `WAREHOUSE-${index}`, free + taken, { reserved: taken, rank: open ? index : -1 })
    )
    .toSorted((left, right) => (left.values["reserved"] ?? 0) - (right.values["reserved"] ?? 0))
)
const demands = Schema.Array(
  Schema.Struct({
    sku: Schema.Literals([mug, tee]),
    quantity: Demand.fields.quantity.check(Schema.isLessThanOrEqualTo(12))
  })
)

const freeOf = (all: ReadonlyArray<Counters>, sku: string): number =>
  all.filter(({ key, rank }) => key === sku && rank >= 0).reduce((sum, one) => sum + sellable(one), 0)

describe("what may be promised (REQUIREMENTS B.6, T-INV-04)", () => {
  it("is on hand less reserved, committed and damaged", () => {
    assert.strictEqual(sellable(level(mug, "BERLIN", 100)), 100)
    assert.strictEqual(sellable(level(mug, "BERLIN", 100, { reserved: 2 })), 98)
    assert.strictEqual(sellable(level(mug, "BERLIN", 100, { committed: 2 })), 98)
    assert.strictEqual(sellable(level(mug, "BERLIN", 100, { reserved: 1, committed: 2, damaged: 3 })), 94)
  })

  it("is never below zero, even where the counters are out of step", () => {
    assert.strictEqual(sellable(level(mug, "BERLIN", 1, { reserved: 3 })), 0)
  })
})

describe("given Berlin before Paris before Rome", () => {
  const three = (berlin: number, paris: number, rome: number) => [
    level(mug, "ROME", rome, { rank: 3 }),
    level(mug, "BERLIN", berlin, { rank: 1 }),
    level(mug, "PARIS", paris, { rank: 2 })
  ]

  it("the first which has the whole quantity gives it", () => {
    assert.strictEqual(from(three(5, 5, 5), 5), "BERLIN 5")
    assert.strictEqual(from(three(4, 5, 9), 5), "PARIS 5", "one parcel rather than two")
    assert.strictEqual(from(three(4, 4, 5), 5), "ROME 5")
  })

  it("when none has it all, then each gives what it has, in order", () => {
    assert.strictEqual(from(three(2, 1, 4), 5), "BERLIN 2, PARIS 1, ROME 2")
    assert.strictEqual(from(three(0, 3, 2), 5), "PARIS 3, ROME 2")
    assert.strictEqual(from(three(4, 4, 4), 5), "BERLIN 4, PARIS 1")
  })

  it("when all of them together have too little, then nothing is allocated", () => {
    assert.strictEqual(from(three(2, 1, 1), 5), "short")
    assert.strictEqual(from([], 1), "short")
  })

  it("when Berlin is closed, then nothing new is promised from there", () => {
    const closed = [level(mug, "BERLIN", 9, { rank: -1 }), level(mug, "PARIS", 3, { rank: 2 })]
    assert.strictEqual(from(closed, 3), "PARIS 3")
    assert.strictEqual(from(closed, 4), "short")
  })
})

describe("given a cart of several lines", () => {
  it("when each can be had, then all are claimed, each part under a name of its own", () => {
    const state = reserve(
      [level(mug, "BERLIN", 2, { rank: 1 }), level(mug, "PARIS", 2, { rank: 2 }), level(tee, "PARIS", 1, { rank: 2 })],
      [line(mug, 3), line(tee, 1)]
    )
    assert(state._tag === "Active")
    assert.deepStrictEqual(
      state.lines.map(({ id, quantity, sku, warehouseId }) => `${id}: ${quantity} ${sku} of ${warehouseId}`),
      ["checkout-1.1.0: 2 MUG-01 of BERLIN", "checkout-1.1.1: 1 MUG-01 of PARIS", "checkout-1.1.2: 1 TEE-RED of PARIS"]
    )
  })

  it("when some cannot be had, then none is claimed, and every short line is told with what there is (REQ-RSV-01)", () => {
    const unheard = Sku.make("UNHEARD-OF")
    const state = reserve(
      [level(mug, "BERLIN", 5), level(tee, "BERLIN", 1, { rank: 1 }), level(tee, "PARIS", 1, { rank: -1 })],
      [line(mug, 2), line(tee, 2), line(unheard, 1)]
    )
    assert.deepStrictEqual(state, {
      _tag: "Refused",
      attempt: 1,
      shortages: [
        { sku: tee, wanted: 2, have: 1 },
        { sku: unheard, wanted: 1, have: 0 }
      ]
    })
  })

  it("when one sku stands in two lines, then both count", () => {
    assert.deepStrictEqual(reserve([level(mug, "BERLIN", 3)], [line(mug, 2), line(mug, 2)]), {
      _tag: "Refused",
      attempt: 1,
      shortages: [{ sku: mug, wanted: 4, have: 3 }]
    })
  })
})

it.prop(
  "never more than a warehouse may promise, nothing of closed ones, and all lines or none",
  [levels, demands],
  ([all, lines]) => {
    const state = reserve(all, lines)
    const wanted = (sku: string) =>
      lines.filter((one) => one.sku === sku).reduce((sum, { quantity }) => sum + quantity, 0)
    if (state._tag === "Active") {
      for (const { key, part, rank, values } of all) {
        const taken = state.lines.filter((one) => one.sku === key && one.warehouseId === part)
        const sum = taken.reduce((units, { quantity }) => units + quantity, 0)
        assert.isTrue(sum <= (rank < 0 ? 0 : sellable({ key, part, rank, values })))
        assert.isTrue(taken.every(({ quantity }) => quantity > 0))
      }
      for (const sku of [mug, tee]) {
        const claimed = state.lines.filter((one) => one.sku === sku)
        assert.strictEqual(
          claimed.reduce((sum, { quantity }) => sum + quantity, 0),
          wanted(sku)
        )
      }
      assert.strictEqual(new Set(state.lines.map(({ id }) => id)).size, state.lines.length)
    } else {
      assert(state._tag === "Refused")
      assert.isAbove(state.shortages.length, 0)
      for (const sku of [mug, tee]) {
        const told = state.shortages.find((one) => one.sku === sku)
        const have = freeOf(all, sku)
        if (wanted(sku) > have) assert.deepStrictEqual(told, { sku, wanted: wanted(sku), have })
        else assert.isUndefined(told)
      }
    }
  }
)

it.prop("one warehouse is enough whenever one has enough", [levels, count], ([all, quantity]) => {
  const mugs = all.filter(({ key }) => key === mug)
  const able = mugs.filter((one) => one.rank >= 0 && sellable(one) >= quantity)
  const parts = allocate(mugs, quantity)
  if (able.length === 0 || parts === undefined) return
  const first = able.toSorted((left, right) => left.rank - right.rank)[0]!
  assert.deepStrictEqual(
    parts.map(({ warehouseId }) => String(warehouseId)),
    [first.part]
  )
})
