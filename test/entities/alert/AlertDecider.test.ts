import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import { type AlertSeverity, AlertState, type RaisedAlert } from "../../../src/entities/alert/Alert.ts"
import { Command, nextAction, view } from "../../../src/entities/alert/AlertDecider.ts"
import { ada, after, bob, limits, start } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import { alertMachine as machine, alerts } from "../../fixtures/machines/AlertMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: AlertState, command: Command, now = after("1 minute")) => step(machine, state, { command, now })

const told = { kind: "failed_compensation", summary: "A void failed", details: {} } as const
const raise = (severity: AlertSeverity = "critical"): Command => ({ _tag: "Raise", severity, ...told })

/** Raised, and told to both sinks. */
const raised = (after_: AlertState, now = start): RaisedAlert => {
  const { state } = at(after_, raise(), now)
  assert(state._tag !== "Absent")
  return ["log", "pager"].reduce<AlertState>(
    (told_, sink) => at(told_, { _tag: "Delivered", sink, page: state.page, action: "trigger" }, now).state,
    state
  ) as RaisedAlert
}

it("what each command does in each state", () => {
  assert.strictEqual(
    matrixOf(machine),
    table(`
      |                            | Absent    | open, unsent | open, sent   | acknowledged | cleared, unsent | cleared |
      | -------------------------- | --------- | ------------ | ------------ | ------------ | --------------- | ------- |
      | Raise, within 15 minutes   | Open      | changed      | changed      | changed      | Open            | Open    |
      | Raise, after 15 minutes    | Open      | changed      | changed      | changed      | Open            | Open    |
      | Raise, worse               | Open      | changed      | changed      | Open         | Open            | Open    |
      | Acknowledge                | !NotFound | Acknowledged | Acknowledged | -            | !               | !       |
      | Clear                      | !NotFound | Cleared      | Cleared      | Cleared      | -               | -       |
      | Delivered, of the trigger  | !NotFound | changed      | -            | -            | changed         | -       |
      | Delivered, of the end      | !NotFound | -            | -            | -            | -               | changed |
      | Delivered, of another page | !NotFound | -            | -            | -            | -               | -       |
      | DeliveryFailed             | !NotFound | changed      | -            | -            | changed         | -       |
      | Forget                     | !NotFound | changed      | changed      | changed      | changed         | changed |
    `)
  )
})

laws(machine, {
  state: AlertState,
  command: Command,
  // Cleared, it may be raised again.
  final: [],
  counted: ["Raise", "DeliveryFailed"]
})

const history = historyOf(Command)

it.prop("a sink is due exactly while there is something to tell it", [history], ([past]) => {
  for (const { state } of play(machine, past)) {
    if (state._tag === "Absent") continue
    for (const { dueAt, sink } of state.sinks) {
      assert.strictEqual(dueAt !== undefined, nextAction(state, sink) !== undefined, sink)
    }
  }
})

it.prop("an alert is sent exactly when each of its sinks has heard of the last page", [history], ([past]) => {
  for (const { state } of play(machine, past)) {
    if (state._tag === "Absent") continue
    const heard = state.sinks.every(({ page }) => page === state.page)
    assert.strictEqual(state.sentAt !== undefined, heard)
  }
})

it.prop("people are told of each page once per sink, and of nothing else (REQ-ALR-01)", [history], ([past]) => {
  const triggers = new Map<string, number>()
  for (const { events, state } of play(machine, past)) {
    for (const event of events) {
      if (event._tag !== "Delivered" || event.action !== "trigger") continue
      assert(state._tag !== "Absent")
      assert.isAbove(event.page, triggers.get(event.sink) ?? 0)
      assert.isAtMost(event.page, state.page)
      triggers.set(event.sink, event.page)
    }
  }
})

describe("given an alert which both sinks have accepted", () => {
  it("when it is raised 20 times within a quarter of an hour, then there is one page, and all are counted (T-ALR-01, N-069)", () => {
    let state: AlertState = raised({ _tag: "Absent" })
    for (let index = 0; index < 20; index++)
      state = at(state, raise(), DateTime.addDuration(start, `${index * 44} seconds`)).state
    assert(state._tag === "Open")
    assert.deepStrictEqual([state.page, state.raises], [1, 21])
    assert.deepStrictEqual(machine.definition.timers!(state), {})
  })

  it("when it is raised at the instant the quarter of an hour is over, then people are told once more", () => {
    const now = after("15 minutes")
    const { state } = at(raised({ _tag: "Absent" }), raise(), now)
    assert(state._tag === "Open")
    assert.strictEqual(state.page, 2)
    assert.isUndefined(state.sentAt)
    assert.deepStrictEqual(machine.definition.timers!(state), {
      "deliver:log": { dueAt: now },
      "deliver:pager": { dueAt: now }
    })
  })

  it("when somebody looks after it, then its repetition pages nobody, unless it has become worse", () => {
    const mild = at({ _tag: "Absent" }, raise("warning"), start).state
    const { state } = at(mild, { _tag: "Acknowledge", by: ada })
    const later = at(state, raise("warning"), after("1 hour")).state
    assert(later._tag === "Acknowledged")
    assert.strictEqual(later.page, 1)
    const worse = at(later, raise("critical"), after("1 hour")).state
    assert(worse._tag === "Open")
    assert.strictEqual(worse.page, 2)
  })

  it("when it is cleared and comes back, then the sinks hear of the end only if they have not heard of the new beginning", () => {
    const over = at(raised({ _tag: "Absent" }), { _tag: "Clear", reason: "It was retried" }).state
    assert(over._tag === "Cleared")
    assert.strictEqual(nextAction(over, "pager"), "resolve")
    const back = at(over, raise(), after("2 minutes")).state
    assert(back._tag === "Open")
    assert.strictEqual(nextAction(back, "pager"), "trigger")
    const late = at(back, { _tag: "Delivered", sink: "pager", page: 1, action: "resolve" }, after("3 minutes"))
    assert.deepStrictEqual(late.events, [])
  })

  it("when it is over before a sink has accepted it, then that one hears of the beginning and of the end", () => {
    const unsent = at(alerts["open, unsent"]!, { _tag: "Clear", reason: "It was retried" }).state
    assert(unsent._tag === "Cleared")
    assert.strictEqual(nextAction(unsent, "pager"), "trigger")
    const told_ = at(unsent, { _tag: "Delivered", sink: "pager", page: 1, action: "trigger" }).state
    assert(told_._tag === "Cleared")
    assert.strictEqual(nextAction(told_, "pager"), "resolve")
  })
})

it("attempts at a sink wait 5, 10, 20 s ... up to 5 min, or as long as it asks for, at most an hour", () => {
  const waits: Array<number> = []
  let state: AlertState = alerts["open, unsent"]!
  const fail = (notBefore?: DateTime.Utc) => {
    const failed = { _tag: "DeliveryFailed", sink: "pager", page: 1, action: "trigger", error: "429" } as const
    state = at(state, notBefore === undefined ? failed : { ...failed, notBefore }, start).state
    assert(state._tag === "Open")
    waits.push((state.sinks[1]!.dueAt!.epochMilliseconds - start.epochMilliseconds) / 1000)
  }
  for (let attempt = 0; attempt < 8; attempt++) fail()
  fail(after("10 minutes"))
  fail(after("1 second"))
  fail(after("3 days"))
  assert.deepStrictEqual(waits, [5, 10, 20, 40, 80, 160, 300, 300, 600, 300, 3600])
})

it("whoever asked for it hears once that all sinks have accepted it, and not of a repetition (REQ-CPN-03)", () => {
  const { definition, id } = machine
  const state = alerts["open, unsent"]!
  const delivered = at(state, { _tag: "Delivered", sink: "pager", page: 1, action: "trigger" })
  assert.deepStrictEqual(definition.notices!(delivered.events[0]!, delivered.state, id, state), [
    { receiver: state.tell!, message: { _tag: "AlertSent" } }
  ])
  const before = alerts["acknowledged"]!
  const acknowledged = at(before, {
    _tag: "Delivered",
    sink: "pager",
    page: 1,
    action: "acknowledge"
  })
  assert.strictEqual(acknowledged.events.length, 1)
  assert.deepStrictEqual(definition.notices!(acknowledged.events[0]!, acknowledged.state, id, before), [])
})

it("what an operator does is in the audit trail, what the system does is not (REQ-ADM-03)", () => {
  const entries = (command: Command) => {
    const { events, state } = at(alerts["open, sent"]!, command)
    return machine.definition.rows!(events[0]!, state, machine.id).map(({ row }) => [
      row["actor"],
      row["operation"],
      row["subject"],
      row["details"]
    ])
  }
  const reason = "The card was voided by hand"
  assert.deepStrictEqual(entries({ _tag: "Acknowledge", by: ada }), [[ada, "AcknowledgeAlert", machine.id, {}]])
  assert.deepStrictEqual(entries({ _tag: "Clear", by: bob, reason }), [[bob, "ClearAlert", machine.id, { reason }]])
  assert.deepStrictEqual(entries({ _tag: "Clear", reason }), [])
})

it("a cleared alert is kept for 90 days (N-052), and one that was never raised is not found", () => {
  const done = at(alerts["cleared"]!, { _tag: "Delivered", sink: "pager", page: 1, action: "resolve" }).state
  assert.deepStrictEqual(machine.definition.timers!(done), {
    retire: { dueAt: DateTime.addDuration(after("5 minutes"), limits.alert.keepFor) }
  })
  assert.deepInclude(view({ _tag: "Absent" }, "parked_notice:x"), { _tag: "Failure" })
})

it("an error is shown without what no row can hold, and not at any length", () => {
  const error = `line one\nline two\u0000${"x".repeat(2000)}`
  const { state } = at({ _tag: "Absent" }, { ...raise(), details: { error } } as Command)
  assert(state._tag === "Open")
  assert.match(state.details.error!, /^line one line two x+$/)
  assert.isAtMost(state.details.error!.length, 500)
})
