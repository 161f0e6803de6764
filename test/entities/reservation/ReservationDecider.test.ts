import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import {
  ReservationConflict,
  ReservationExpired,
  ReservationState,
  type ReservedLine
} from "../../../src/entities/reservation/Reservation.ts"
import { Command } from "../../../src/entities/reservation/ReservationDecider.ts"
import { after, checkoutId, line, mug, start } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import { reservationMachine as machine } from "../../fixtures/machines/ReservationMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: ReservationState, command: Command, now = after("1 minute")) =>
  step(machine, state, { command, now })

it("what each command does in each state (REQUIREMENTS B.5, T-INV-17)", () => {
  assert.strictEqual(
    matrixOf(machine),
    table(`
      |                             | Absent  | Active              | Fulfilled | Released | Expired             | Reversed | Refused |
      | --------------------------- | ------- | ------------------- | --------- | -------- | ------------------- | -------- | ------- |
      | Reserve, same attempt       | Active  | -                   | -         | -        | -                   | -        | -       |
      | Reserve, next attempt       | Active  | !                   | !         | Active   | Active              | Active   | Active  |
      | Reserve, earlier attempt    | Active  | !                   | !         | !        | !                   | !        | !       |
      | Reserve, more than there is | Refused | !                   | !         | Refused  | Refused             | Refused  | changed |
      | Extend, at its start        | !       | -                   | !         | !        | !                   | !        | !       |
      | Extend                      | !       | changed             | !         | !        | !                   | !        | !       |
      | Extend, at expiry           | !       | !ReservationExpired | !         | !        | !                   | !        | !       |
      | Commit                      | !       | Fulfilled           | -         | !        | !ReservationExpired | !        | !       |
      | Commit, at expiry           | !       | !ReservationExpired | -         | !        | !ReservationExpired | !        | !       |
      | Release                     | -       | Released            | !         | -        | -                   | -        | -       |
      | Expire, too early           | !       | !                   | !         | !        | -                   | !        | !       |
      | Expire, at expiry           | !       | Expired             | !         | !        | -                   | !        | !       |
      | Reverse                     | !       | !                   | Reversed  | !        | !                   | -        | !       |
    `)
  )
})

laws(machine, {
  state: ReservationState,
  command: Command,
  // Each may be followed by another attempt.
  final: []
})

const history = historyOf(Command)

it.prop("a claim has an expiry exactly while it is active", [history], ([past]) => {
  for (const { state } of play(machine, past)) assert.strictEqual("expiresAt" in state, state._tag === "Active")
})

it.prop("an expiry only moves further away (REQ-RSV-07)", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag !== "Active" || state._tag !== "Active") continue
    assert.isTrue(DateTime.isGreaterThanOrEqualTo(state.expiresAt, before.expiresAt))
  }
})

it.prop("what is claimed stays the same until the next attempt", [history], ([past]) => {
  const claimed = (state: ReservationState): ReadonlyArray<ReservedLine> | undefined =>
    state._tag === "Absent" || state._tag === "Refused" ? undefined : state.lines
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || before.attempt !== state.attempt) continue
    assert.deepStrictEqual(claimed(state), claimed(before))
  }
})

describe("given a claim until half past ten", () => {
  const active = machine.states["Active"]!
  const expiresAt = after("30 minutes")
  const before = DateTime.subtract(expiresAt, { milliseconds: 1 })

  it("when it is committed a millisecond before, then it is bound; at that instant it is refused as expired (REQ-RSV-04)", () => {
    assert.strictEqual(at(active, { _tag: "Commit" }, before).state._tag, "Fulfilled")
    assert.deepStrictEqual(at(active, { _tag: "Commit" }, expiresAt).refusal, new ReservationExpired({ attempt: 1 }))
  })

  it("when commit and expiry meet at one instant, then the first one wins, and never both (T-INV-06)", () => {
    const commands: ReadonlyArray<Command> = [{ _tag: "Commit" }, { _tag: "Expire" }]
    for (const now of [before, expiresAt]) {
      for (const [first, second] of [commands, commands.toReversed()]) {
        const { state } = at(at(active, first!, now).state, second!, now)
        assert.strictEqual(state._tag, now === before ? "Fulfilled" : "Expired")
      }
    }
  })

  it("when it is committed after a release, then the refusal names both (REQ-RSV-05)", () => {
    const { refusal } = at(machine.states["Released"]!, { _tag: "Commit" })
    assert.deepStrictEqual(refusal, new ReservationConflict({ status: "Released", command: "Commit" }))
  })

  it("when capture begins, then it lasts as long as all retries may take (REQ-RSV-07)", () => {
    const { state } = at(active, { _tag: "Extend" }, after("10 minutes"))
    assert.deepStrictEqual(state, { ...active, expiresAt: after("40 minutes") } as ReservationState)
  })
})

it("a claim wakes up at its expiry, and nothing else does (REQ-RSV-03)", () => {
  for (const [name, state] of Object.entries(machine.states)) {
    const expected = name === "Active" ? { expiry: { dueAt: after("30 minutes") } } : {}
    assert.deepStrictEqual(machine.definition.timers!(state), expected)
  }
})

it("a claim lasts half an hour from its instant, whatever the command says (N-007)", () => {
  const { state } = at({ _tag: "Absent" }, { _tag: "Reserve", attempt: 1, lines: [line(mug, 2)] }, start)
  assert.deepStrictEqual(state, {
    _tag: "Active",
    attempt: 1,
    lines: [{ id: `${checkoutId}.1.0`, sku: mug, warehouseId: "BERLIN", quantity: 2 }],
    expiresAt: after("30 minutes")
  } as unknown as ReservationState)
})
