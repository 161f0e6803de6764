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
import { type Backoff, backoff } from "../../../src/entities/payment/Backoff.ts"
import { Command, isClosed, orderPaymentStatus, view } from "../../../src/entities/payment/PaymentDecider.ts"
import { owedOf, receivedOf, returnedOf } from "../../../src/entities/payment/ReceiptDecider.ts"
import { RefundId } from "../../../src/entities/payment/Refund.ts"
import { pendingOf, refundNamed, remainingOf } from "../../../src/entities/payment/RefundDecider.ts"
import { OrderPaymentStatus } from "../../../src/entities/order/Order.ts"
import { after, checkoutId, total } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { markdown, matrixOf, step } from "../../fixtures/Machine.ts"
import {
  forgottenMoney,
  intent,
  isAboutReceipts,
  isAboutRefunds,
  paymentMachine as machine,
  receiptColumns,
  refundColumns
} from "../../fixtures/machines/PaymentMachine.ts"
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
      | none            | -    | yes        | -               | -              | yes      | yes    | -        |
      | authorized      | -    | -          | yes             | yes            | -        | yes    | -        |
      | capture_pending | -    | -          | -               | yes            | yes      | -      | -        |
      | capture_failed  | -    | -          | yes             | -              | yes      | yes    | -        |
      | captured        | -    | -          | -               | -              | -        | -      | yes      |
      | voided          | -    | -          | -               | -              | -        | -      | -        |
      | refunded        | -    | -          | -               | -              | yes      | -      | -        |
    `)
  )
})

const history = historyOf(Command, { rare: ["Voided", "Declined", "ChargebackReported"], length: 240 })

const rest = (command: { readonly _tag: string }) => !isAboutRefunds(command) && !isAboutReceipts(command)

it("what each command does until a hold is there, or surely not", () => {
  assert.strictEqual(
    matrixOf(machine, ["absent", "begun", "asked", "second factor", "unknown", "left", "failed", "voided"], rest),
    table(`
      |                          | absent         | begun             | asked         | second factor | unknown       | left          | failed         | voided         |
      | ------------------------ | -------------- | ----------------- | ------------- | ------------- | ------------- | ------------- | -------------- | -------------- |
      | Begin 1                  | pending (none) | -                 | -             | -             | -             | -             | -              | -              |
      | Begin 2                  | pending (none) | !                 | !             | !             | !             | !             | pending (none) | pending (none) |
      | Begin 0                  | pending (none) | !                 | !             | !             | !             | !             | !              | !              |
      | Begin 2, by another      | pending (none) | !                 | !             | !             | !             | !             | !              | !              |
      | IntentCreated            | !              | processing (none) | -             | -             | -             | -             | -              | -              |
      | IntentCreated, another   | !              | processing (none) | !             | !             | !             | !             | !              | !              |
      | ActionRequired           | !              | !                 | changed       | -             | changed       | changed       | !              | !              |
      | Authorized               | !              | authorized        | authorized    | authorized    | authorized    | authorized    | !              | !              |
      | Authorized, other amount | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Declined                 | !              | failed (none)     | failed (none) | failed (none) | failed (none) | failed (none) | -              | !              |
      | AuthorizationUnknown     | !              | processing (none) | changed       | changed       | changed       | changed       | !              | !              |
      | LeaveToOperator          | !              | !                 | !             | !             | changed       | -             | !              | !              |
      | StartCapture             | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Captured                 | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Captured, other amount   | !              | !                 | !             | !             | !             | !             | !              | !              |
      | CaptureFailed            | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Voided                   | !              | voided            | voided        | voided        | voided        | voided        | voided         | -              |
      | Refunded, some           | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Refunded, all            | !              | !                 | !             | !             | !             | !             | !              | !              |
      | Refunded, nothing        | !              | !                 | !             | !             | !             | !             | !              | !              |
    `)
  )
})

it("what each command does once a hold is there", () => {
  assert.strictEqual(
    matrixOf(
      machine,
      ["authorized", "capture_pending", "capture_failed", "captured", "partially_refunded", "refunded"],
      rest
    ),
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
      | LeaveToOperator          | !                            | !                           | !                            | !                             | !                  | !        |
      | StartCapture             | processing (capture_pending) | -                           | processing (capture_pending) | !                             | !                  | !        |
      | Captured                 | !                            | captured                    | captured                     | -                             | -                  | -        |
      | Captured, other amount   | !                            | !                           | !                            | !                             | !                  | !        |
      | CaptureFailed            | processing (capture_failed)  | processing (capture_failed) | !                            | !                             | !                  | !        |
      | Voided                   | voided                       | !                           | voided                       | !                             | !                  | !        |
      | Refunded, some           | !                            | !                           | !                            | partially_refunded (captured) | changed            | !        |
      | Refunded, all            | !                            | !                           | !                            | refunded                      | !                  | !        |
      | Refunded, nothing        | !                            | !                           | !                            | !                             | !                  | !        |
    `)
  )
})

it("what each command does to refunds and chargebacks (REQUIREMENTS B.11)", () => {
  assert.strictEqual(
    matrixOf(machine, refundColumns, isAboutRefunds),
    table(`
      |                                | refund requested              | refund processing             | refund pending                | refund failed                 | refund refused                | refund completed     | charged back                  | chargeback won                | held for a seller             | a seller's                    |
      | ------------------------------ | ----------------------------- | ----------------------------- | ----------------------------- | ----------------------------- | ----------------------------- | -------------------- | ----------------------------- | ----------------------------- | ----------------------------- | ----------------------------- |
      | ReleaseEscrow                  | -                             | -                             | -                             | -                             | -                             | -                    | -                             | -                             | changed                       | -                             |
      | RequestRefund, again           | -                             | -                             | -                             | -                             | -                             | -                    | !RefundNotPossible            | changed                       | changed                       | changed                       |
      | RequestRefund, another amount  | !IdempotencyConflict          | !IdempotencyConflict          | !IdempotencyConflict          | !IdempotencyConflict          | !IdempotencyConflict          | !IdempotencyConflict | !RefundNotPossible            | changed                       | changed                       | changed                       |
      | RequestRefund, the rest        | changed                       | changed                       | changed                       | changed                       | changed                       | changed              | !RefundNotPossible            | changed                       | changed                       | changed                       |
      | RequestRefund, too much        | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge      | !RefundNotPossible            | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge               |
      | StartRefund                    | changed                       | -                             | -                             | changed                       | changed                       | !                    | !                             | !                             | !                             | !                             |
      | RefundTryFailed, unknown       | changed                       | changed                       | !                             | -                             | !                             | !                    | !                             | !                             | !                             | !                             |
      | RefundTryFailed, for good      | changed                       | changed                       | !                             | -                             | !                             | !                    | !                             | !                             | !                             | !                             |
      | RefundReported, pending        | changed                       | changed                       | -                             | changed                       | changed                       | -                    | changed                       | changed                       | changed                       | changed                       |
      | RefundReported, completed      | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | -                    | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) |
      | RefundReported, failed         | changed                       | changed                       | changed                       | changed                       | -                             | captured             | -                             | -                             | -                             | -                             |
      | RefundReported, other amount   | !                             | !                             | !                             | !                             | !                             | !                    | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) |
      | RefundReported, of nobody here | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | changed              | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) | partially_refunded (captured) |
      | RefundAwaited                  | !                             | !                             | changed                       | !                             | !                             | !                    | !                             | !                             | !                             | !                             |
      | ChargebackReported, opened     | changed                       | changed                       | changed                       | changed                       | changed                       | changed              | -                             | -                             | changed                       | changed                       |
      | ChargebackReported, won        | changed                       | changed                       | changed                       | changed                       | changed                       | changed              | changed                       | -                             | changed                       | changed                       |
    `)
  )
})

it("what each command does to cash and transfers (REQUIREMENTS B.14, B.15)", () => {
  assert.strictEqual(
    matrixOf(machine, receiptColumns, isAboutReceipts),
    table(`
      |                                     | awaits transfer | part transferred     | transferred                   | too much                      | given up             | awaits cash     | cash disputed   | paid in cash                  | captured           |
      | ----------------------------------- | --------------- | -------------------- | ----------------------------- | ----------------------------- | -------------------- | --------------- | --------------- | ----------------------------- | ------------------ |
      | RecordReceipt, all                  | captured        | captured             | changed                       | changed                       | changed              | captured        | captured        | changed                       | !                  |
      | RecordReceipt, the rest             | changed         | captured             | changed                       | changed                       | changed              | changed         | changed         | changed                       | !                  |
      | RecordReceipt, too little           | changed         | changed              | changed                       | changed                       | changed              | changed         | changed         | changed                       | !                  |
      | RecordReceipt, too much             | captured        | captured             | changed                       | changed                       | changed              | changed         | changed         | changed                       | !                  |
      | RecordReceipt, nothing              | !               | !                    | !                             | !                             | !                    | !               | !               | !                             | !                  |
      | RecordReceipt, again                | changed         | -                    | !IdempotencyConflict          | !IdempotencyConflict          | -                    | changed         | changed         | changed                       | !                  |
      | RecordReceipt, again, other amount  | changed         | !IdempotencyConflict | !IdempotencyConflict          | !IdempotencyConflict          | !IdempotencyConflict | changed         | changed         | changed                       | !                  |
      | RecordGivenBack, some               | !RefundTooLarge | !RefundTooLarge      | partially_refunded (captured) | changed                       | changed              | !RefundTooLarge | !RefundTooLarge | partially_refunded (captured) | !RefundNotPossible |
      | RecordGivenBack, all that was paid  | !RefundTooLarge | !RefundTooLarge      | refunded                      | partially_refunded (captured) | !RefundTooLarge      | !RefundTooLarge | !RefundTooLarge | refunded                      | !RefundNotPossible |
      | RecordGivenBack, more than there is | !RefundTooLarge | !RefundTooLarge      | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge      | !RefundTooLarge | !RefundTooLarge | !RefundTooLarge               | !RefundNotPossible |
      | RecordGivenBack, nothing            | !RefundTooLarge | !RefundTooLarge      | !RefundTooLarge               | !RefundTooLarge               | !RefundTooLarge      | !RefundTooLarge | !RefundTooLarge | !RefundTooLarge               | !RefundNotPossible |
    `)
  )
})

it("what the provider is asked, or says, never fits a payment which it knows nothing of", () => {
  const fits = Object.entries(machine.commands).filter(
    ([, { command }]) => !isAboutReceipts(command) && !["Begin", "Voided"].includes(command._tag)
  )
  for (const column of receiptColumns.filter((name) => name !== "captured")) {
    const moved = fits.filter(([, entry]) => step(machine, machine.states[column]!, entry).events.length > 0)
    assert.deepStrictEqual(
      moved.map(([name]) => `${column}: ${name}`),
      []
    )
  }
})

it.prop("what has come in is captured, owed or given back, to the last cent (REQ-BNK-02)", [history], ([past]) => {
  for (const { state } of play(machine, past)) {
    if (state._tag === "Absent" || state.method === undefined) continue
    const decided = state.saga !== "none" || isClosed(state)
    assert.isTrue(owedOf(state) >= 0n)
    if (decided) assert.strictEqual(state.captured + owedOf(state) + returnedOf(state), receivedOf(state))
    else assert.strictEqual(owedOf(state), 0n)
    assert.isTrue(state.method === "cash_on_delivery" || decided || receivedOf(state) < state.amount)
  }
})

it("every payment status and every saga state has a column", () => {
  assert.deepStrictEqual(forgottenMoney(), [])
})

laws(machine, {
  state: PaymentState,
  command: Command,
  final: [],
  counted: ["AuthorizationUnknown", "Refunded", "RefundAwaited"],
  rare: ["Voided", "Declined", "ChargebackReported"],
  length: 240
})

it.prop(
  "refunded is at most captured, which is nothing or the whole amount (REQ-PAY-06, T-PAY-29)",
  [history],
  ([past]) => {
    for (const { state } of play(machine, past)) {
      if (state._tag === "Absent") continue
      assert.isTrue(state.refunded >= 0n && state.refunded + pendingOf(state) <= state.captured)
      assert.isTrue(remainingOf(state) >= 0n)
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

describe("given all was captured", () => {
  const taken = presentAfter(machine.states["captured"]!)
  const request = (name: string, asked?: bigint): Command => ({
    _tag: "RequestRefund",
    refund: RefundId.make(`operator:${name}`),
    ...(asked === undefined ? {} : { amount: asked }),
    reason: "the handle broke"
  })
  const named = (state: PresentPayment, name = "one") => refundNamed(state, RefundId.make(`operator:${name}`))!
  const one = RefundId.make("operator:one")
  const start: Command = { _tag: "StartRefund", refund: one }
  const unknown: Command = {
    _tag: "RefundTryFailed",
    refund: one,
    code: "outcome_unknown",
    definite: false,
    answered: false
  }
  const report = (
    status: "pending" | "completed" | "failed",
    asked: bigint,
    changes: { readonly reference?: string } = {}
  ): Command => ({ _tag: "RefundReported", refund: one, reference: "re_1", status, amount: asked, ...changes })

  it("when 20 refunds are asked for at once, then those which fit are taken and the others hear what is left (T-PAY-29)", () => {
    let state = taken
    const told = Array.from({ length: 20 }, (_, index) => {
      const { refusal, state: next } = at(state, request(`r${index}`, amount / 7n))
      assert(next._tag === "Present")
      state = next
      return refusal
    })
    assert.strictEqual(told.filter((refusal) => refusal === undefined).length, 7)
    const left = amount - 7n * (amount / 7n)
    for (const refusal of told.slice(7)) {
      assert.deepInclude(refusal as object, { _tag: "RefundTooLarge", remaining: left, currency: "EUR" })
    }
  })

  it("when no amount is named, then all is given back that others leave", () => {
    const state = presentAfter(taken, request("one", 1000n), request("two"))
    assert.strictEqual(named(state, "two").amount, amount - 1000n)
    assert.deepInclude(at(state, request("three")).refusal as object, { _tag: "RefundTooLarge", remaining: 0n })
  })

  it("when the outcome stays unknown, then it holds its amount, is retried three times, and then waits for an operator (REQ-RFD-03)", () => {
    const once = presentAfter(taken, request("one", 1000n), start, unknown)
    assert.deepStrictEqual(named(once).nextAttemptAt, after("2 minutes"))
    assert.strictEqual(named(once).suffix, 1, "one key while the outcome is unknown")
    const state = presentAfter(once, start, unknown, start, unknown, start, unknown)
    assert.deepInclude(named(state), { status: "failed", tries: 4, refused: false })
    assert.isUndefined(named(state).nextAttemptAt)
    assert.strictEqual(remainingOf(state), amount - 1000n)
    assert.strictEqual(presentAfter(state, start, report("completed", 1000n)).refunded, 1000n)
  })

  it("when it is refused for good, then its amount is free again, and the next try of it has another key", () => {
    const refused = presentAfter(taken, request("one"), start, { ...unknown, definite: true, answered: true })
    assert.deepInclude(named(refused), { status: "failed", refused: true, suffix: 2 })
    assert.strictEqual(remainingOf(refused), amount)
    const other = presentAfter(refused, request("two", 1000n))
    assert.deepInclude(at(other, start).refusal as object, { _tag: "RefundTooLarge", remaining: amount - 1000n })
  })

  it("when the provider says that a pending one failed, then its amount is free; what is said of it later is old", () => {
    const pending = presentAfter(taken, request("one", 1000n), start, report("pending", 1000n))
    assert.deepInclude(named(pending), { status: "processing", reference: "re_1" })
    const freed = presentAfter(pending, report("failed", 1000n))
    assert.strictEqual(remainingOf(freed), amount)
    const again = presentAfter(freed, start)
    assert.deepStrictEqual(at(again, report("failed", 1000n)).events, [])
    assert.strictEqual(presentAfter(again, report("completed", 1000n, { reference: "re_2" })).refunded, 1000n)
  })

  it("when one that was completed fails after all, then the money is the shop's again", () => {
    const done = presentAfter(taken, request("one"), start, report("completed", amount))
    assert.deepInclude(done, { saga: "refunded", status: "refunded", refunded: amount })
    assert.deepInclude(presentAfter(done, report("failed", amount)), {
      saga: "captured",
      status: "captured",
      refunded: 0n
    })
  })

  it("when the end is told before the middle, then the end stands", () => {
    const done = presentAfter(taken, request("one", 1000n), report("completed", 1000n), report("pending", 1000n))
    assert.deepInclude(named(done), { status: "completed" })
    const lost: Command = {
      _tag: "ChargebackReported",
      chargeback: "dp_1",
      amount,
      reason: "fraudulent",
      status: "lost"
    }
    const state = presentAfter(taken, lost, { ...lost, status: "opened" }, { ...lost, status: "won" })
    assert.strictEqual(state.chargebacks?.[0]?.status, "lost")
  })

  it("when an issuer has taken it back, then nothing is refunded until the chargeback is won (REQUIREMENTS B.11)", () => {
    const asked = presentAfter(taken, request("one", 1000n))
    const opened: Command = {
      _tag: "ChargebackReported",
      chargeback: "dp_1",
      amount,
      reason: "fraudulent",
      status: "opened"
    }
    const charged = presentAfter(asked, opened)
    for (const command of [start, request("two", 1n)]) {
      assert.deepInclude(at(charged, command).refusal as object, { _tag: "RefundNotPossible", because: "chargeback" })
    }
    assert.strictEqual(named(presentAfter(charged, { ...opened, status: "won" }, start)).status, "processing")
    const maybeDone = presentAfter(asked, start, unknown, opened, start)
    assert.strictEqual(named(maybeDone).status, "processing", "looked up all the same")
  })

  it("when a refund was made on the provider's own pages, then it counts; one that does not fit is not believed", () => {
    const elsewhere = (reference: string, asked: bigint): Command => ({
      _tag: "RefundReported",
      reference,
      status: "completed",
      amount: asked
    })
    const state = presentAfter(taken, request("one", 1000n), elsewhere("re_9", amount - 1000n))
    assert.strictEqual(state.refunded, amount - 1000n)
    assert.strictEqual(at(state, elsewhere("re_10", 1n)).refusal?._tag, "PaymentConflict")
    assert.deepStrictEqual(at(state, elsewhere("re_9", amount - 1000n)).events, [])
  })
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
    drop("c", attempt, "again"),
    ...[1, 2, 3].map((suffix) => capture("c", attempt, suffix)),
    ...[1, 2].map((suffix) => refund("c", `compensation:${attempt}`, suffix))
  ])
  assert.strictEqual(new Set(keys).size, keys.length)
  assert.strictEqual(create("c", 1), "checkout:c:auth")
  assert.strictEqual(create("c", 2), "checkout:c:auth:2")
})

describe("wake-ups", () => {
  const timers = (name: string) => machine.definition.timers!(machine.states[name]!)

  it("an unknown outcome is looked into, a second factor ends, a hold expires, a refund is looked after; nothing else wakes up", () => {
    const expected: Readonly<Record<string, ReturnType<typeof timers>>> = {
      unknown: { resolve: { dueAt: after("1 minute"), urgent: true } },
      "second factor": { action: { dueAt: after("15 minutes") } },
      authorized: { hold: { dueAt: after("7 days") } },
      capture_failed: { hold: { dueAt: after("7 days") } },
      "hold, deferred": { hold: { dueAt: after("7 days") }, capture: { dueAt: after("6 days"), urgent: false } },
      "refund requested": { refund: { dueAt: after("100 seconds"), urgent: true } },
      "refund processing": { refund: { dueAt: after("100 seconds"), urgent: true } },
      "refund pending": { refund: { dueAt: after("31 minutes"), urgent: false } },
      "refund failed": { refund: { dueAt: after("2 minutes"), urgent: false } }
    }
    for (const name of Object.keys(machine.states)) assert.deepStrictEqual(timers(name), expected[name] ?? {}, name)
  })

  it("a deferred capture under way is gone on with at once by whoever takes it over (REQ-CAP-08)", () => {
    const pending = presentAfter(machine.states["hold, deferred"]!, { _tag: "StartCapture" })
    assert.deepStrictEqual(machine.definition.timers!(pending), { capture: { dueAt: after("6 days"), urgent: true } })
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
