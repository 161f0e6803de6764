import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import {
  PaymentConflict,
  PaymentState,
  type PresentPayment,
  providerKeys,
  SagaState,
  sagaTransitions
} from "../../../src/entities/payment/Payment.ts"
import {
  type Backoff,
  backoff,
  Command,
  isClosed,
  orderPaymentStatus,
  view
} from "../../../src/entities/payment/PaymentDecider.ts"
import { OrderPaymentStatus } from "../../../src/entities/order/Order.ts"
import { after, checkoutId, total } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { markdown, matrixOf, step } from "../../fixtures/Machine.ts"
import { forgottenMoney, intent, paymentMachine as machine } from "../../fixtures/machines/PaymentMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const { amount } = total
const at = (state: PaymentState, command: Command) => step(machine, state, { command, now: after("1 minute") })
const presentAfter = (from: PaymentState, ...commands: ReadonlyArray<Command>): PresentPayment => {
  const state = commands.reduce((before, command) => at(before, command).state, from)
  assert(state._tag === "Present")
  return state
}
const failed = (changes: Partial<Extract<Command, { readonly _tag: "CaptureFailed" }>> = {}): Command => ({
  _tag: "CaptureFailed",
  code: "outcome_unknown",
  definite: false,
  answered: false,
  retry: false,
  ...changes
})

it("where the money may go next: all 49 pairs (REQUIREMENTS B.3)", () => {
  const rows = SagaState.literals.map((from) => [
    from,
    ...SagaState.literals.map((to) => (sagaTransitions[from].includes(to) ? "yes" : "-"))
  ])
  assert.strictEqual(
    markdown(["from \\ to", ...SagaState.literals], rows),
    table(`
      | from \\ to       | none | authorized | capture_pending | capture_failed | captured | voided | refunded |
      | --------------- | ---- | ---------- | --------------- | -------------- | -------- | ------ | -------- |
      | none            | -    | yes        | -               | -              | -        | yes    | -        |
      | authorized      | -    | -          | yes             | yes            | -        | yes    | -        |
      | capture_pending | -    | -          | -               | yes            | yes      | -      | -        |
      | capture_failed  | -    | -          | yes             | -              | yes      | yes    | -        |
      | captured        | -    | -          | -               | -              | -        | -      | yes      |
      | voided          | -    | -          | -               | -              | -        | -      | -        |
      | refunded        | -    | -          | -               | -              | -        | -      | -        |
    `)
  )
})

it("what each command does until a hold is there, or surely not", () => {
  assert.strictEqual(
    matrixOf(machine, ["absent", "begun", "asked", "second factor", "unknown", "failed", "voided"]),
    table(`
      |                          | absent         | begun             | asked         | second factor | unknown       | failed         | voided         |
      | ------------------------ | -------------- | ----------------- | ------------- | ------------- | ------------- | -------------- | -------------- |
      | Begin 1                  | pending (none) | -                 | -             | -             | -             | -              | -              |
      | Begin 2                  | pending (none) | !                 | !             | !             | !             | pending (none) | pending (none) |
      | Begin 0                  | pending (none) | !                 | !             | !             | !             | !              | !              |
      | Begin 2, by another      | pending (none) | !                 | !             | !             | !             | !              | !              |
      | IntentCreated            | !              | processing (none) | -             | -             | -             | -              | -              |
      | IntentCreated, another   | !              | processing (none) | !             | !             | !             | !              | !              |
      | ActionRequired           | !              | !                 | changed       | -             | changed       | !              | !              |
      | Authorized               | !              | authorized        | authorized    | authorized    | authorized    | !              | !              |
      | Authorized, other amount | !              | !                 | !             | !             | !             | !              | !              |
      | Declined                 | !              | failed (none)     | failed (none) | failed (none) | failed (none) | -              | !              |
      | AuthorizationUnknown     | !              | processing (none) | changed       | changed       | changed       | !              | !              |
      | StartCapture             | !              | !                 | !             | !             | !             | !              | !              |
      | Captured                 | !              | !                 | !             | !             | !             | !              | !              |
      | Captured, other amount   | !              | !                 | !             | !             | !             | !              | !              |
      | CaptureFailed            | !              | !                 | !             | !             | !             | !              | !              |
      | Voided                   | !              | voided            | voided        | voided        | voided        | voided         | -              |
      | Refunded, some           | !              | !                 | !             | !             | !             | !              | !              |
      | Refunded, all            | !              | !                 | !             | !             | !             | !              | !              |
      | Refunded, nothing        | !              | !                 | !             | !             | !             | !              | !              |
    `)
  )
})

it("what each command does once a hold is there", () => {
  assert.strictEqual(
    matrixOf(machine, [
      "authorized",
      "capture_pending",
      "capture_failed",
      "captured",
      "partially_refunded",
      "refunded"
    ]),
    table(`
      |                          | authorized                   | capture_pending             | capture_failed               | captured                      | partially_refunded | refunded |
      | ------------------------ | ---------------------------- | --------------------------- | ---------------------------- | ----------------------------- | ------------------ | -------- |
      | Begin 1                  | -                            | -                           | -                            | -                             | -                  | -        |
      | Begin 2                  | !                            | !                           | !                            | !                             | !                  | !        |
      | Begin 0                  | !                            | !                           | !                            | !                             | !                  | !        |
      | Begin 2, by another      | !                            | !                           | !                            | !                             | !                  | !        |
      | IntentCreated            | -                            | -                           | -                            | -                             | -                  | -        |
      | IntentCreated, another   | !                            | !                           | !                            | !                             | !                  | !        |
      | ActionRequired           | !                            | !                           | !                            | !                             | !                  | !        |
      | Authorized               | -                            | !                           | !                            | !                             | !                  | !        |
      | Authorized, other amount | !                            | !                           | !                            | !                             | !                  | !        |
      | Declined                 | !                            | !                           | !                            | !                             | !                  | !        |
      | AuthorizationUnknown     | !                            | !                           | !                            | !                             | !                  | !        |
      | StartCapture             | processing (capture_pending) | -                           | processing (capture_pending) | !                             | !                  | !        |
      | Captured                 | !                            | captured                    | captured                     | -                             | -                  | !        |
      | Captured, other amount   | !                            | !                           | !                            | !                             | !                  | !        |
      | CaptureFailed            | processing (capture_failed)  | processing (capture_failed) | !                            | !                             | !                  | !        |
      | Voided                   | voided                       | !                           | voided                       | !                             | !                  | !        |
      | Refunded, some           | !                            | !                           | !                            | partially_refunded (captured) | changed            | !        |
      | Refunded, all            | !                            | !                           | !                            | refunded                      | !                  | !        |
      | Refunded, nothing        | !                            | !                           | !                            | !                             | !                  | !        |
    `)
  )
})

it("every payment status and every saga state has a column", () => {
  assert.deepStrictEqual(forgottenMoney(), [])
})

laws(machine, {
  state: PaymentState,
  command: Command,
  final: ["refunded"],
  counted: ["AuthorizationUnknown", "Refunded"],
  rare: ["Voided", "Declined"]
})

const history = historyOf(Command, { rare: ["Voided", "Declined"] })

it.prop(
  "refunded is at most captured, which is nothing or the whole amount (REQ-PAY-06, T-PAY-29)",
  [history],
  ([past]) => {
    for (const { state } of play(machine, past)) {
      if (state._tag === "Absent") continue
      assert.isTrue(state.refunded >= 0n && state.refunded <= state.captured)
      const taken = state.saga === "captured" || state.saga === "refunded"
      assert.strictEqual(state.captured, taken ? state.amount : 0n)
      assert.strictEqual(state.capturedAt !== undefined, taken)
    }
  }
)

it.prop("every move of the money is in the table, unless a new attempt begins", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || before.saga === state.saga) continue
    if (state.attempt > before.attempt) assert.isTrue(isClosed(before))
    else assert.include(sagaTransitions[before.saga], state.saga)
  }
})

it.prop("an attempt is captured or voided, never both, and once at most", [history], ([past]) => {
  const ends = new Map<number, Array<string>>()
  for (const { events, state } of play(machine, past)) {
    if (state._tag === "Absent") continue
    for (const { _tag } of events) {
      if (_tag === "Captured" || _tag === "Voided") ends.set(state.attempt, [...(ends.get(state.attempt) ?? []), _tag])
    }
  }
  for (const [attempt, tags] of ends) assert.isTrue(tags.length === 1, `attempt ${attempt}: ${tags.join()}`)
})

it.prop("attempts only go up, and a new one begins with nothing held or taken (REQ-CHK-02)", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent") continue
    assert.isTrue(state.attempt >= before.attempt)
    if (state.attempt > before.attempt) assert.strictEqual(before.captured, 0n)
  }
})

it.prop("retries and keys of a capture only go up within an attempt (REQ-CAP-03, REQ-CAP-04)", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || state.attempt !== before.attempt) continue
    assert.isTrue(state.captureKey >= before.captureKey && state.captureRetryCount >= before.captureRetryCount)
  }
})

describe("given a hold", () => {
  const held = machine.states["authorized"]!
  const pending = presentAfter(held, { _tag: "StartCapture" })

  it("when another amount is said to be held or taken, then nothing moves (T-PAY-06)", () => {
    const refused = (command: Command) => at(pending, command).refusal
    assert.deepStrictEqual(
      refused({ _tag: "Captured", amount: amount + 1n }),
      new PaymentConflict({ saga: "capture_pending", status: "processing", command: "Captured" })
    )
    const taken = presentAfter(pending, { _tag: "Captured", amount })
    assert.strictEqual(at(taken, { _tag: "Captured", amount: amount - 1n }).refusal?._tag, "PaymentConflict")
    assert.strictEqual(at(held, { _tag: "Authorized", amount: amount - 1n }).refusal?._tag, "PaymentConflict")
  })

  it("when the capture is tried four times in vain, then three of them were retries (REQ-CAP-04)", () => {
    const again: ReadonlyArray<Command> = [{ _tag: "StartCapture" }, failed({ retry: true })]
    const state = presentAfter(pending, failed(), ...again, ...again, ...again)
    assert.strictEqual(state.captureRetryCount, 3)
    assert.strictEqual(state.captureKey, 1, "one key while the outcome is unknown")
  })

  it("when the provider has stored a failure, then the next capture takes the next key (REQ-CAP-03)", () => {
    const state = presentAfter(pending, failed({ answered: true }), { _tag: "StartCapture" })
    assert.strictEqual(state.captureKey, 2)
    assert.strictEqual(providerKeys.capture(checkoutId, state.attempt, state.captureKey), `capture:${checkoutId}:1:2`)
  })

  it("when the capture was refused for good, then that is known; a later try forgets it", () => {
    const refused = presentAfter(pending, failed({ code: "charge_expired_for_capture", definite: true }))
    assert.isTrue(refused.captureRefused)
    assert.strictEqual(refused.failure, "charge_expired_for_capture")
  })

  it("when it is taken, then the count of retries stays (REQ-CAP-07)", () => {
    const state = presentAfter(pending, failed(), { _tag: "StartCapture" }, failed({ retry: true }), {
      _tag: "Captured",
      amount
    })
    assert.strictEqual(state.captureRetryCount, 1)
    assert.strictEqual(state.captured, amount)
    assert.deepStrictEqual(state.capturedAt, after("1 minute"))
  })
})

it("given all was captured, when more is refunded than that, then it is refused (T-PAY-29)", () => {
  const some = presentAfter(machine.states["captured"]!, { _tag: "Refunded", amount: amount - 1n })
  assert.strictEqual(some.status, "partially_refunded")
  assert.strictEqual(at(some, { _tag: "Refunded", amount: 2n }).refusal?._tag, "PaymentConflict")
  const all = presentAfter(some, { _tag: "Refunded", amount: 1n })
  assert.strictEqual(all.saga, "refunded")
  assert.strictEqual(at(all, { _tag: "Refunded", amount: 1n }).refusal?._tag, "PaymentConflict")
})

it("pauses before retries double up to their cap (REQ-CAP-01, T-PAY-05)", () => {
  const seconds = (retries: ReadonlyArray<number>, pauses: Backoff) =>
    retries.map((retry) => Duration.toSeconds(backoff(retry, pauses)))
  const usual = { base: Duration.seconds(5), cap: Duration.seconds(60) }
  assert.deepStrictEqual(seconds([1, 2, 3, 4, 5, 6], usual), [5, 10, 20, 40, 60, 60])
  const alternative = { base: Duration.minutes(1), cap: Duration.minutes(30) }
  assert.deepStrictEqual(
    seconds([1, 2, 3, 4, 5, 6, 7], alternative),
    [1, 2, 4, 8, 16, 30, 30].map((minutes) => minutes * 60)
  )
})

describe("what others see", () => {
  it("each payment status is one of the order's (REQ-PAY-05, REQUIREMENTS B.4)", () => {
    assert.deepStrictEqual(orderPaymentStatus, {
      pending: "pending",
      processing: "processing",
      authorized: "authorized",
      captured: "completed",
      failed: "failed",
      voided: "cancelled",
      partially_refunded: "partially_refunded",
      refunded: "refunded"
    })
    assert.deepStrictEqual(Object.values(orderPaymentStatus).toSorted(), [...OrderPaymentStatus.literals].toSorted())
  })

  it("the provider's name of the charge is not told (REQ-SEC-02)", () => {
    const seen: ReadonlyArray<unknown> = Object.values(view(machine.states["authorized"]!) ?? {})
    assert.isAbove(seen.length, 0)
    assert.notInclude(seen, intent)
    assert.isNull(view({ _tag: "Absent" }))
  })
})

it("each attempt has keys of its own at the provider (REQUIREMENTS A.4)", () => {
  const { capture, confirm, create, refund, void: drop } = providerKeys
  const keys = [1, 2, 12].flatMap((attempt) => [
    create("c", attempt),
    confirm("c", attempt),
    drop("c", attempt),
    ...[1, 2, 3].map((suffix) => capture("c", attempt, suffix)),
    refund("c", `compensation:${attempt}`)
  ])
  assert.strictEqual(new Set(keys).size, keys.length)
  assert.strictEqual(create("c", 1), "checkout:c:auth")
  assert.strictEqual(create("c", 2), "checkout:c:auth:2")
})

describe("wake-ups", () => {
  const timers = (name: string) => machine.definition.timers!(machine.states[name]!)

  it("an unknown outcome is looked into, a second factor ends, a hold expires; nothing else wakes up", () => {
    const expected: Readonly<Record<string, ReturnType<typeof timers>>> = {
      unknown: { resolve: { dueAt: after("1 minute"), urgent: true } },
      "second factor": { action: { dueAt: after("15 minutes") } },
      authorized: { hold: { dueAt: after("7 days") } },
      capture_failed: { hold: { dueAt: after("7 days") } }
    }
    for (const name of Object.keys(machine.states)) assert.deepStrictEqual(timers(name), expected[name] ?? {}, name)
  })

  it("a hold expires when the provider says so, where it does (REQ-CAP-05)", () => {
    const held = presentAfter(machine.states["asked"]!, { _tag: "Authorized", amount, holdUntil: after("5 days") })
    assert.deepStrictEqual(machine.definition.timers!(held), { hold: { dueAt: after("5 days") } })
  })

  it("looks into an unknown outcome are further and further apart (N-066)", () => {
    const dueAfter = (looks: number) => {
      const unknown = Array.from({ length: looks }, (): Command => ({ _tag: "AuthorizationUnknown" }))
      return presentAfter(machine.states["asked"]!, ...unknown).nextAttemptAt
    }
    assert.deepStrictEqual(
      [1, 2, 3, 6, 7].map(dueAfter),
      [1, 2, 4, 30, 30].map((minutes) => after(Duration.minutes(minutes + 1)))
    )
  })
})
