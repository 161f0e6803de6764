import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { IdempotencyKey } from "../../../src/domain/Ids.ts"
import { AccessDenied } from "../../../src/domain/Refusals.ts"
import type { Timer } from "../../../src/runtime/Actor.ts"
import {
  AddressRefused,
  type AttemptOutcome,
  CheckoutState,
  CheckoutStatus,
  checkoutTransitions,
  type PresentCheckout
} from "../../../src/entities/checkoutSession/CheckoutSession.ts"
import {
  Command,
  latestOutcome,
  mayBegin,
  attemptWith,
  view
} from "../../../src/entities/checkoutSession/CheckoutSessionDecider.ts"
import {
  ada,
  address,
  after,
  bob,
  cartId,
  checkoutId,
  confirmed,
  confirmKey,
  orderId,
  start,
  terms
} from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import {
  checkouts,
  checkoutSessionMachine as machine,
  compensated,
  outOfStock,
  rejected
} from "../../fixtures/machines/CheckoutSessionMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: CheckoutState, command: Command) => step(machine, state, { command, now: after("1 minute") })
const end = (attempt: number, outcome: AttemptOutcome): Command => ({
  _tag: "End",
  attempt,
  confirmKey: confirmKey(attempt),
  outcome
})
const begin = (attempt: number): Command => ({ _tag: "Begin", attempt, confirmKey: confirmKey(attempt), terms })
const presentAfter = (from: CheckoutState, ...commands: ReadonlyArray<Command>): PresentCheckout => {
  const state = commands.reduce((before, command) => at(before, command).state, from)
  assert(state._tag === "Present")
  return state
}

it("what each command does in each status, and where buyers stand while it is being confirmed (REQUIREMENTS B.13)", () => {
  assert.strictEqual(
    matrixOf(machine, ["absent", "open", "validating", "confirming", "rejected"]),
    table(`
      |                               | absent        | open            | validating      | confirming      | rejected        |
      | ----------------------------- | ------------- | --------------- | --------------- | --------------- | --------------- |
      | StartCheckout                 | open          | -               | -               | -               | -               |
      | StartCheckout, other cart     | open          | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | StartCheckout, by another     | open          | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | SetAddress                    | !AccessDenied | changed         | !CheckoutLocked | !CheckoutLocked | open            |
      | SetAddress, a wrong one       | !AccessDenied | !AddressRefused | !AddressRefused | !AddressRefused | !AddressRefused |
      | SetAddress, wrong, by another | !AccessDenied | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | SetShippingMethod             | !AccessDenied | changed         | !CheckoutLocked | !CheckoutLocked | open            |
      | SetPaymentMethod              | !AccessDenied | changed         | !CheckoutLocked | !CheckoutLocked | open            |
      | ApplyPromotion                | !AccessDenied | changed         | !CheckoutLocked | !CheckoutLocked | open            |
      | RemovePromotion               | !AccessDenied | changed         | !CheckoutLocked | !CheckoutLocked | open            |
      | AbandonCheckout               | !AccessDenied | abandoned       | !CheckoutLocked | !CheckoutLocked | abandoned       |
      | AbandonCheckout, by another   | !AccessDenied | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | AbortAttempt 1                | !AccessDenied | changed         | -               | -               | -               |
      | AbortAttempt 2                | !AccessDenied | -               | -               | -               | changed         |
      | Begin 1                       | !AccessDenied | confirming      | !CheckoutLocked | -               | !CheckoutClosed |
      | Begin 2                       | !AccessDenied | !CheckoutClosed | !CheckoutLocked | !CheckoutLocked | confirming      |
      | Begin 3                       | !AccessDenied | !CheckoutClosed | !CheckoutLocked | !CheckoutLocked | !CheckoutClosed |
      | End 1, confirmed              | !AccessDenied | !CheckoutClosed | !CheckoutLocked | confirmed       | !CheckoutClosed |
      | End 1, placed                 | !AccessDenied | !CheckoutClosed | !CheckoutLocked | confirmed       | !CheckoutClosed |
      | End 1, rejected               | !AccessDenied | rejected        | !CheckoutLocked | rejected        | -               |
      | End 1, compensated            | !AccessDenied | !CheckoutClosed | !CheckoutLocked | compensated     | !CheckoutClosed |
      | End 2, confirmed              | !AccessDenied | !CheckoutClosed | !CheckoutLocked | !CheckoutLocked | !CheckoutClosed |
      | End 2, rejected               | !AccessDenied | !CheckoutClosed | !CheckoutLocked | !CheckoutLocked | changed         |
      | End 2, compensated            | !AccessDenied | !CheckoutClosed | !CheckoutLocked | !CheckoutLocked | !CheckoutClosed |
      | Expire                        | !AccessDenied | expired         | -               | -               | expired         |
    `)
  )
})

it("nothing moves a checkout which has ended; its first answer is given again", () => {
  assert.strictEqual(
    matrixOf(machine, ["confirmed", "compensated", "abandoned", "expired"]),
    table(`
      |                               | confirmed       | compensated     | abandoned       | expired         |
      | ----------------------------- | --------------- | --------------- | --------------- | --------------- |
      | StartCheckout                 | -               | -               | -               | -               |
      | StartCheckout, other cart     | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | StartCheckout, by another     | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | SetAddress                    | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | SetAddress, a wrong one       | !AddressRefused | !AddressRefused | !AddressRefused | !AddressRefused |
      | SetAddress, wrong, by another | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | SetShippingMethod             | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | SetPaymentMethod              | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | ApplyPromotion                | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | RemovePromotion               | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | AbandonCheckout               | !CheckoutClosed | !CheckoutClosed | -               | !CheckoutClosed |
      | AbandonCheckout, by another   | !AccessDenied   | !AccessDenied   | !AccessDenied   | !AccessDenied   |
      | AbortAttempt 1                | -               | -               | -               | -               |
      | AbortAttempt 2                | -               | -               | -               | -               |
      | Begin 1                       | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | Begin 2                       | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | Begin 3                       | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 1, confirmed              | -               | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 1, placed                 | -               | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 1, rejected               | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 1, compensated            | !CheckoutClosed | -               | !CheckoutClosed | !CheckoutClosed |
      | End 2, confirmed              | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 2, rejected               | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | End 2, compensated            | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed | !CheckoutClosed |
      | Expire                        | -               | -               | -               | -               |
    `)
  )
})

it("which status may become which (REQUIREMENTS B.13)", () => {
  assert.deepStrictEqual(checkoutTransitions, {
    open: ["validating", "abandoned", "expired"],
    validating: ["open", "confirming"],
    confirming: ["confirmed", "rejected", "compensated"],
    confirmed: [],
    rejected: ["open"],
    compensated: [],
    abandoned: [],
    expired: []
  })
  assert.deepStrictEqual(
    CheckoutStatus.literals.filter((status) => mayBegin(status)),
    ["open", "rejected"]
  )
})

laws(machine, {
  state: CheckoutState,
  command: Command,
  final: ["confirmed", "compensated", "abandoned", "expired"],
  rare: ["AbandonCheckout", "Expire", "AbortAttempt"],
  // The checks on a frozen cart leave nothing behind: a checkout goes through it without staying.
  unreached: ["validating"]
})

const history = historyOf(Command, { rare: ["AbandonCheckout", "Expire", "AbortAttempt"] })

/** Whether the table has a way from one to the other. */
const hasWay = (from: CheckoutStatus, to: CheckoutStatus): boolean => {
  const reached = new Set<CheckoutStatus>()
  const next = [...checkoutTransitions[from]]
  while (next.length > 0) {
    const status = next.pop()!
    if (reached.has(status)) continue
    reached.add(status)
    next.push(...checkoutTransitions[status])
  }
  return reached.has(to)
}

it.prop("every move goes along the table", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || before.status === state.status) continue
    assert.isTrue(hasWay(before.status, state.status), `${before.status} to ${state.status}`)
  }
})

it.prop(
  "attempts are numbered once each and in order; at most one is under way or confirmed (REQ-CHK-02)",
  [history],
  ([past]) => {
    for (const { before, state } of play(machine, past)) {
      if (state._tag === "Absent") continue
      const numbers = state.attempts.map(({ attempt }) => attempt)
      assert.deepStrictEqual(
        numbers,
        [...new Set(numbers)].toSorted((left, right) => left - right)
      )
      assert.isTrue(numbers.every((number) => number <= state.attempt))
      const open = state.attempts.filter(({ outcome }) => outcome === undefined)
      assert.strictEqual(open.length, state.status === "confirming" ? 1 : 0)
      assert.isTrue(state.attempts.filter(({ outcome }) => outcome?._tag === "Confirmed").length <= 1)
      assert.strictEqual(state.confirmingSince !== undefined, state.status === "confirming")
      if (before._tag === "Present") assert.isTrue(state.attempt >= before.attempt)
    }
  }
)

it.prop("an outcome, once there, is never another", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent") continue
    for (const { attempt, outcome } of before.attempts) {
      const now = state.attempts.find((other) => other.attempt === attempt)
      if (outcome !== undefined && now !== undefined) assert.deepStrictEqual(now.outcome, outcome)
    }
  }
})

it("whoever is not the owner hears the same as of one that does not exist (REQ-CHK-03, T-CHK-14)", () => {
  for (const given of Object.values(machine.commands)) {
    if (!("by" in given.command) || given.command._tag === "StartCheckout") continue
    const command: Command = { ...given.command, by: bob }
    for (const [name, state] of Object.entries(machine.states)) {
      assert.deepStrictEqual(at(state, command).refusal, new AccessDenied(), `${command._tag} in ${name}`)
    }
  }
  assert.deepStrictEqual(view(checkouts.open, checkoutId, bob), Result.fail(new AccessDenied()))
  assert.deepStrictEqual(view({ _tag: "Absent" }, checkoutId, bob), Result.fail(new AccessDenied()))
})

describe("given an open checkout", () => {
  const { open } = checkouts

  it("when an address is set which its country refuses, then its owner is told each field (REQ-CHK-08)", () => {
    const { refusal } = at(open, {
      _tag: "SetAddress",
      by: ada,
      address: { name: "Ada", line1: "1 Main St", city: "Austin", country: "US", postalCode: "123" }
    })
    assert.deepStrictEqual(
      refusal,
      new AddressRefused({
        problems: [
          { field: "postalCode", message: "not a postal code of US" },
          { field: "region", message: "required in US" }
        ]
      })
    )
  })

  it("when an attempt is refused before it began, then that is its outcome, and the next may begin", () => {
    const state = presentAfter(open, end(1, rejected))
    assert.deepStrictEqual(attemptWith(state, confirmKey(1))?.outcome, rejected)
    assert.strictEqual(presentAfter(state, begin(2)).status, "confirming")
  })

  it("when an attempt was given up for its cart's sake, then it never begins, and its end is refused", () => {
    const state = presentAfter(open, { _tag: "AbortAttempt", attempt: 1 })
    assert.strictEqual(at(state, begin(1)).refusal?._tag, "CheckoutClosed")
    assert.strictEqual(at(state, end(1, rejected)).refusal?._tag, "CheckoutClosed")
    assert.strictEqual(presentAfter(state, begin(2)).status, "confirming")
  })

  it("when the address is set again, then other choices stay", () => {
    const other = { ...address, line1: "Unter den Linden 2" }
    const state = presentAfter(open, { _tag: "SetAddress", by: ada, address: other })
    assert.deepStrictEqual(state, { ...open, shippingAddress: other, changedAt: after("1 minute") })
  })
})

describe("given a checkout whose first attempt was rejected", () => {
  it("when the second attempt was given up, then its end is refused instead of taken for the first one's", () => {
    const state = presentAfter(checkouts.rejected, { _tag: "AbortAttempt", attempt: 2 })
    assert.strictEqual(at(state, end(2, rejected)).refusal?._tag, "CheckoutClosed")
  })

  it("when something is changed, then it is open, and the end of the first attempt is still known", () => {
    const state = presentAfter(checkouts.rejected, { _tag: "SetShippingMethod", by: ada, method: "express" })
    assert.strictEqual(state.status, "open")
    assert.deepStrictEqual(at(state, end(1, rejected)).events, [])
    assert.deepStrictEqual(latestOutcome(state), rejected)
  })
})

it("after more than twenty attempts the latest twenty are remembered", () => {
  let state: CheckoutState = checkouts.open
  for (let attempt = 1; attempt <= 25; attempt++) {
    state = presentAfter(state, begin(attempt), end(attempt, rejected))
  }
  assert.deepStrictEqual(
    state.attempts.map(({ attempt }) => attempt),
    Array.from({ length: 20 }, (_, index) => index + 6)
  )
  assert.strictEqual(attemptWith(state, IdempotencyKey.make("confirm-1")), undefined)
})

describe("what its owner sees", () => {
  const seen = (status: CheckoutStatus) => Result.getOrThrow(view(checkouts[status], checkoutId, ada))

  it("a confirmed or compensated checkout names its order, a rejected one its reason, and none the payment method", () => {
    assert.strictEqual(seen("confirmed").orderId, orderId)
    assert.strictEqual(seen("compensated").orderId, orderId)
    assert.deepStrictEqual(seen("rejected").rejection, outOfStock)
    for (const status of CheckoutStatus.literals) {
      assert.isTrue(seen(status).paymentMethodSet)
      assert.notInclude(JSON.stringify(seen(status)), "pm_card")
    }
    assert.isUndefined(seen("open").orderId)
    assert.isUndefined(seen("confirming").rejection)
  })
})

describe("wake-ups and notices", () => {
  const { notices, timers } = machine.definition

  it("a checkout under confirmation is watched urgently, one that may begin expires when idle, others sleep", () => {
    const idle = { idle: { dueAt: after("24 hours") } }
    const expected: Readonly<Record<CheckoutStatus, Readonly<Record<string, Timer>>>> = {
      open: idle,
      validating: {},
      confirming: { watchdog: { dueAt: after("40 seconds"), urgent: true } },
      confirmed: {},
      rejected: idle,
      compensated: {},
      abandoned: {},
      expired: {}
    }
    assert.deepStrictEqual(
      Object.fromEntries(CheckoutStatus.literals.map((status) => [status, timers!(checkouts[status])])),
      expected
    )
    assert.deepStrictEqual(timers!({ _tag: "Absent" }), {})
  })

  it("its cart hears how each attempt ended: it becomes an order's, or is free again (REQ-CART-03, REQ-CART-04)", () => {
    const told = (outcome: AttemptOutcome) =>
      notices!(
        { _tag: "Ended", attempt: 2, confirmKey: confirmKey(2), outcome, at: start },
        checkouts.confirming,
        checkoutId,
        checkouts.confirming
      )
    const receiver = { type: "Cart", id: cartId }
    const complete: { readonly _tag: string } & object = { _tag: "Complete", checkoutId, orderId } as { _tag: string }
    const unlock: { readonly _tag: string } & object = { _tag: "Unlock", checkoutId, attempt: 2 } as { _tag: string }
    assert.deepStrictEqual(told(confirmed), [{ receiver, message: complete }])
    assert.deepStrictEqual(told(rejected), [{ receiver, message: unlock }])
    assert.deepStrictEqual(told(compensated), [{ receiver, message: unlock }])
  })
})
