import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration } from "effect"
import {
  CompensationOperation,
  CompensationStatus,
  compensationTransitions,
  FailedCompensationId,
  failedCompensationId,
  FailedCompensationState
} from "../../../src/entities/failedCompensation/FailedCompensation.ts"
import {
  Command,
  type Event,
  retryDelay,
  view
} from "../../../src/entities/failedCompensation/FailedCompensationDecider.ts"
import { hashedReference } from "../../../src/domain/SecretHash.ts"
import { ada, after, bob, limits, orderId, start } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { markdown, matrixOf, step } from "../../fixtures/Machine.ts"
import { failedCompensationMachine as machine, failedVoid } from "../../fixtures/machines/FailedCompensationMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: FailedCompensationState, command: Command, now = after("10 minutes")) =>
  step(machine, state, { command, now })

const attemptFailed: Command = { _tag: "AttemptFailed", error: "ProviderUnavailable" }

/** All commands, each a minute after the one before. */
const run = (...commands: ReadonlyArray<Command>): FailedCompensationState =>
  play(
    machine,
    commands.map((command) => ({ command, afterMs: 60_000 }))
  ).at(-1)!.state

it("what each command does in each state", () => {
  assert.strictEqual(
    matrixOf(machine),
    table(`
      |               | absent    | pending  | retrying | retrying, last | failed   | resolved |
      | ------------- | --------- | -------- | -------- | -------------- | -------- | -------- |
      | Record        | pending   | -        | -        | -              | -        | -        |
      | Start         | !NotFound | retrying | -        | -              | !        | !        |
      | Retry         | !NotFound | retrying | !        | !              | retrying | !        |
      | Succeeded     | !NotFound | !        | resolved | resolved       | !        | !        |
      | AttemptFailed | !NotFound | !        | pending  | failed         | !        | !        |
      | Awaited       | !NotFound | !        | pending  | pending        | !        | !        |
      | Unhandled     | !NotFound | !        | pending  | pending        | !        | !        |
      | Resolve       | !NotFound | resolved | !        | !              | resolved | !        |
      | AlertSent     | -         | changed  | changed  | changed        | -        | changed  |
    `)
  )
})

laws(machine, { state: FailedCompensationState, command: Command, final: ["resolved"] })

const history = historyOf(Command)

it.prop("a status becomes only what B.12 lets it become", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || before._tag === state._tag) continue
    const [from, to] = [before, state].map((one) => machine.statusOf(one))
    assert.include(compensationTransitions[from as CompensationStatus], to)
  }
})

it.prop("what was recorded stays as it was, and only its error is another one", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent") continue
    const fixed = ({ authorizationId, operation, reservationIds, totalAmount }: typeof state) => ({
      authorizationId,
      operation,
      reservationIds,
      totalAmount
    })
    assert.deepStrictEqual(fixed(state), fixed(before))
  }
})

it.prop("it wakes up by itself exactly while it waits, is under way, or is kept", [history], ([past]) => {
  for (const { state } of play(machine, past)) {
    const expected = { Absent: [], Pending: ["retry"], Retrying: ["attempt"], Failed: [], Resolved: ["retire"] }
    assert.deepStrictEqual(Object.keys(machine.definition.timers!(state)), expected[state._tag])
  }
})

it("waits 1, 2, 4, 8, 16, 30, 30 min (T-CMP-06, N-016)", () => {
  const minutes = Array.from({ length: 7 }, (_, count) =>
    Duration.toMinutes(retryDelay(count, limits.compensation.backoff))
  )
  assert.deepStrictEqual(minutes, [1, 2, 4, 8, 16, 30, 30])
})

describe("given a void that always fails", () => {
  const waits = (state: FailedCompensationState, now: DateTime.Utc) =>
    state._tag === "Pending" && state.nextAttemptAt !== undefined
      ? (state.nextAttemptAt.epochMilliseconds - now.epochMilliseconds) / 60_000
      : undefined

  it("when it is retried, then the waits grow, the third vain one is the last, and everybody is told (T-CMP-02, REQ-CMP-04)", () => {
    let now = start
    let state = at({ _tag: "Absent" }, { _tag: "Record", ...failedVoid }, now).state
    const seen: Array<number | undefined> = [waits(state, now)]
    const raised: Array<string> = []
    for (let retry = 0; retry < 3; retry++) {
      assert(state._tag === "Pending")
      now = state.nextAttemptAt!
      const started = at(state, { _tag: "Start" }, now).state
      const failed = at(started, attemptFailed, now)
      state = failed.state
      seen.push(waits(state, now))
      for (const { message } of machine.definition.notices!(failed.events[0]!, state, machine.id, started))
        raised.push(message._tag)
    }
    assert.deepStrictEqual(seen, [1, 2, 4, undefined])
    assert(state._tag === "Failed")
    assert.deepStrictEqual([state.retryCount, raised], [3, ["Raise"]])
    assert.deepStrictEqual(machine.definition.timers!(state), {})
  })

  it("when an operator retries it after that and it fails once more, then it stays failed and says why", () => {
    const failed = machine.states["failed"]!
    const retrying = at(failed, { _tag: "Retry", by: bob }).state
    assert(retrying._tag === "Retrying")
    assert.strictEqual(retrying.startedBy, bob)
    const again = at(retrying, { _tag: "AttemptFailed", error: "NotPossible: locked" }).state
    assert(again._tag === "Failed")
    assert.deepStrictEqual([again.retryCount, again.error], [4, "NotPossible: locked"])
  })
})

it("two operators at once: one begins an attempt, the other is told that one is under way (T-CMP-04)", () => {
  const { state } = at(machine.states["failed"]!, { _tag: "Retry", by: ada })
  const second = at(state, { _tag: "Retry", by: bob })
  assert.deepInclude(second.refusal, { _tag: "IllegalTransition", status: "retrying", command: "Retry" })
  assert.strictEqual(second.state, state)
  const resolving = at(state, { _tag: "Resolve", by: bob, reason: "It was voided by hand" })
  assert.deepInclude(resolving.refusal, { _tag: "IllegalTransition", status: "retrying" })
})

it("what nobody knows how to repeat stays pending, is not counted as a retry, and is told once (REQ-CMP-01, T-CMP-03)", () => {
  const retrying = machine.states["retrying"]!
  const first = at(retrying, { _tag: "Unhandled" })
  assert(first.state._tag === "Pending")
  assert.deepStrictEqual([first.state.unhandled, first.state.retryCount], [true, 0])
  const noticesOf = ({ events, state }: typeof first) =>
    machine.definition.notices!(events[0]!, state, machine.id, retrying)
  assert.lengthOf(noticesOf(first), 1)
  const second = at(at(first.state, { _tag: "Start" }).state, { _tag: "Unhandled" })
  assert.lengthOf(second.events, 1)
  assert.deepStrictEqual(noticesOf(second), [])
})

it("a record that is made again is the one there is", () => {
  const { events } = at(machine.states["failed"]!, { _tag: "Record", ...failedVoid, error: "another" })
  assert.deepStrictEqual(events, [])
})

it("its alert says whose order it is, how much money, and why, and has the authorization only as its hash (T-CMP-10, REQ-CPN-03, REQ-SEC-02)", () => {
  const { events, state } = at({ _tag: "Absent" }, { _tag: "Record", ...failedVoid })
  const notices = machine.definition.notices!(events[0]!, state, machine.id, { _tag: "Absent" })
  assert.deepStrictEqual(notices[0]!.receiver, { type: "Alert", id: `failed_compensation:${machine.id}` })
  assert.deepInclude(notices[0]!.message as object, {
    severity: "critical",
    details: {
      orderId,
      customerId: ada,
      amount: 4189n,
      currency: failedVoid.currency,
      authorization: hashedReference("pi_1"),
      error: "ProviderUnavailable",
      recorded: true
    }
  })
  assert.notInclude(
    JSON.stringify(notices, (_, value: unknown) => (typeof value === "bigint" ? 0 : value)),
    "pi_1"
  )
})

it("operators see it without its authorization (REQ-SEC-02)", () => {
  for (const state of Object.values(machine.states)) {
    const shown = JSON.stringify(view(state, machine.id, 3), (_, value: unknown) =>
      typeof value === "bigint" ? 0 : value
    )
    assert.notInclude(shown, "pi_1")
  }
})

it("what an operator does is in the audit trail, with who and why; what happens by itself is not (REQ-ADM-03)", () => {
  const audited = (state: FailedCompensationState, command: Command) => {
    const { events, state: next } = at(state, command)
    return events.flatMap((event: Event) =>
      machine.definition.rows!(event, next, machine.id).map(({ row }) => [
        row["actor"],
        row["operation"],
        row["outcome"],
        row["details"]
      ])
    )
  }
  const { failed, pending } = machine.states as Record<string, FailedCompensationState>
  const reason = "Voided in the dashboard"
  assert.deepStrictEqual(audited(failed!, { _tag: "Retry", by: ada }), [[ada, "RetryCompensation", "done", {}]])
  assert.deepStrictEqual(audited(failed!, { _tag: "Resolve", by: bob, reason }), [
    [bob, "ResolveCompensation", "done", { reason }]
  ])
  assert.deepStrictEqual(audited(pending!, { _tag: "Start" }), [])
})

it("who retried it with success, and when, stays with it", () => {
  const state = run(
    { _tag: "Record", ...failedVoid },
    { _tag: "Retry", by: bob },
    { _tag: "Succeeded" },
    { _tag: "AlertSent" }
  )
  assert(state._tag === "Resolved")
  assert.deepInclude(state, { resolvedBy: bob, resolution: "retried", alertSent: true, resolvedAt: after("3 minutes") })
  assert.deepStrictEqual(machine.definition.timers!(state), {
    retire: { dueAt: DateTime.addDuration(after("3 minutes"), Duration.days(90)) }
  })
})

it.prop(
  "its id names its order and operation, and fits what operators may send",
  [CompensationOperation],
  ([operation]) => {
    const id = failedCompensationId(orderId, operation, 12)
    assert.strictEqual(id, `checkout-1~${operation}:12`)
    assert.strictEqual(FailedCompensationId.make(id), id)
    const again = failedCompensationId(orderId, operation, 12, 1)
    assert.strictEqual(FailedCompensationId.make(again), `${id}.1`)
  }
)

it("which status may become which (REQUIREMENTS B.12)", () => {
  const rows = CompensationStatus.literals.map((from) => [
    from,
    ...CompensationStatus.literals.map((to) => (compensationTransitions[from].includes(to) ? "yes" : "-"))
  ])
  assert.strictEqual(
    markdown(["from \\ to", ...CompensationStatus.literals], rows),
    table(`
      | from \\ to | pending | retrying | failed | resolved |
      | --------- | ------- | -------- | ------ | -------- |
      | pending   | -       | yes      | -      | yes      |
      | retrying  | yes     | -        | yes    | yes      |
      | failed    | -       | yes      | -      | yes      |
      | resolved  | -       | -        | -      | -        |
    `)
  )
})
