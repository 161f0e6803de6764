import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import { ProviderEventState } from "../../../src/entities/providerEvent/ProviderEvent.ts"
import * as ProviderEventActor from "../../../src/entities/providerEvent/ProviderEventActor.ts"
import { Command, type Event } from "../../../src/entities/providerEvent/ProviderEventDecider.ts"
import { toJson } from "../../../src/runtime/Table.ts"
import { checkoutId, start } from "../../fixtures/Builders.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import {
  news,
  providerEventLimits,
  providerEventMachine as machine,
  received
} from "../../fixtures/machines/ProviderEventMachine.ts"
import { laws, table } from "../MachineLaws.ts"

describe("given a provider's event", () => {
  // With few tries, histories come to their end.
  const impatient = { ...machine, definition: ProviderEventActor.make({ ...providerEventLimits, attemptsMax: 2 }) }
  laws(impatient, {
    state: ProviderEventState,
    command: Command,
    final: ["applied", "ignored", "unmatched"],
    counted: ["Fail", "Contradict"]
  })
})

describe("given each state and each command", () => {
  it("then this is what happens", () => {
    assert.strictEqual(table(matrixOf(machine)), table(expected))
  })
})

const expected = `
|                         | absent   | received  | received, last try | applied | ignored | unmatched | parked    |
| ----------------------- | -------- | --------- | ------------------ | ------- | ------- | --------- | --------- |
| Receive                 | received | -         | -                  | -       | -       | -         | -         |
| Receive, another object | received | !         | !                  | !       | !       | !         | !         |
| Settle, applied         | !        | applied   | applied            | -       | -       | -         | applied   |
| Settle, ignored         | !        | ignored   | ignored            | -       | -       | -         | ignored   |
| Settle, unmatched       | !        | unmatched | unmatched          | -       | -       | -         | unmatched |
| Fail                    | !        | changed   | parked             | -       | -       | -         | -         |
| Contradict              | !        | changed   | changed            | changed | changed | changed   | changed   |
| Replay                  | !        | !         | !                  | !       | !       | !         | received  |
`

const noticesOf = (state: ProviderEventState, command: Command) => {
  const { events, state: after } = step(machine, state, { command, now: start })
  return events.flatMap((event: Event) => machine.definition.notices?.(event, after, machine.id, state) ?? [])
}

describe("given an event which cannot be handled", () => {
  it("when it fails again and again, then the pauses double up to five minutes, and the tenth time it is parked (N-047, N-073)", () => {
    let state: ProviderEventState = received
    const pauses: Array<number> = []
    let now = start
    for (let tries = 1; tries < 10; tries++) {
      state = step(machine, state, { command: { _tag: "Fail", error: "Unsettled" }, now }).state
      assert(state._tag === "Present" && state.nextAttemptAt !== undefined)
      pauses.push((state.nextAttemptAt.epochMilliseconds - now.epochMilliseconds) / 1000)
      now = state.nextAttemptAt
    }
    assert.deepStrictEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    const parked = step(machine, state, { command: { _tag: "Fail", error: "Unsettled" }, now }).state
    assert.deepInclude(parked, { status: "parked", attempts: 10, error: "Unsettled" })
    assert.deepStrictEqual(machine.definition.timers?.(parked), {})
    const replayed = step(machine, parked, { command: { _tag: "Replay" }, now: DateTime.add(now, { days: 1 }) }).state
    assert.deepInclude(replayed, { status: "received", attempts: 0 })
  })

  it("when it is parked, then an alert of its own is raised, and names no authorization (REQ-SEC-02)", () => {
    const [notice, ...others] = noticesOf({ ...received, attempts: 9 }, { _tag: "Fail", error: "Unsettled" })
    assert.deepStrictEqual(others, [])
    assert(notice !== undefined)
    assert.deepStrictEqual(notice.receiver, { type: "Alert", id: "webhook_parked:stripe:evt_1" })
    const { message }: { readonly message: object } = notice
    assert.deepInclude(message, { _tag: "Raise", kind: "webhook_parked", severity: "critical" })
    assert.notInclude(toJson(notice), "pi_1")
  })
})

describe("given trouble", () => {
  const trouble = {
    kind: "webhook_money_without_order",
    severity: "critical",
    summary: "Money without an order"
  } as const

  it("when several events tell of one payment's, then it is one alert", () => {
    const [notice] = noticesOf(received, { _tag: "Settle", as: "unmatched", outcome: "nobody's", trouble })
    assert.strictEqual(notice?.receiver.id, `webhook_money_without_order:${checkoutId}`)
  })

  it("when it is of no payment of ours, then all of a provider's are one alert", () => {
    const { payment: _, ...foreign } = received
    const [notice] = noticesOf(foreign, { _tag: "Settle", as: "unmatched", outcome: "nobody's", trouble })
    assert.strictEqual(notice?.receiver.id, "webhook_money_without_order:stripe")
  })

  it("when the event comes again with another content, then each of these is told", () => {
    const [notice] = noticesOf(received, { _tag: "Contradict", type: "payment_intent.canceled" })
    assert.strictEqual(notice?.receiver.id, `webhook_contradiction:${news.provider}:${news.eventId}`)
  })

  it("when there is none, then nobody is told", () => {
    assert.deepStrictEqual(noticesOf(received, { _tag: "Settle", as: "applied", outcome: "captured" }), [])
  })
})
