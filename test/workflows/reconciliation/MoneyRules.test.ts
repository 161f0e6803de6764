import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { SagaState } from "../../../src/entities/payment/Payment.ts"
import type { Intent } from "../../../src/gateways/PaymentGateway.ts"
import { judge, type Standing } from "../../../src/workflows/reconciliation/MoneyRules.ts"

const id = Redacted.make("pi_1")
const unknown = "unknown"
/** What the provider may say of an intent which is for 100. */
const founds = {
  nothing: { _tag: "Unconfirmed", id },
  held: { _tag: "Authorized", id, amount: 100n },
  captured: { _tag: "Captured", id, amount: 100n, refunded: 0n },
  less: { _tag: "Captured", id, amount: 90n, refunded: 0n },
  refunded: { _tag: "Captured", id, amount: 100n, refunded: 100n },
  voided: { _tag: "Voided", id }
} as const satisfies Record<string, Intent>
type Found = keyof typeof founds | typeof unknown

const standing = (saga: SagaState, order: Standing["order"], changed: Partial<Standing> = {}): Standing => ({
  intent: "pi_1",
  saga,
  amount: 100n,
  captured: saga === "captured" || saga === "refunded" ? 100n : 0n,
  refunded: saga === "refunded" ? 100n : 0n,
  refundPending: 0n,
  waiting: false,
  confirming: false,
  order,
  recorded: false,
  ...changed
})

const judged = (of: Standing, found: Found, intent = "pi_1") =>
  judge(of, intent, found === unknown ? undefined : founds[found])._tag

const columns: ReadonlyArray<Found> = ["nothing", "held", "captured", "less", "refunded", "voided", unknown]
const held = ["Differs", "Sound", "Follow", "Differs", "Follow", "Follow", "Differs"]
const taken = ["Differs", "Differs", "Sound", "Differs", "Follow", "Differs", "Differs"]
const closed = ["Sound", "GiveBack", "GiveBack", "GiveBack", "Sound", "Sound", "Sound"]
const heldForNobody = ["Follow", "GiveBack", "GiveBack", "GiveBack", "Follow", "Follow", "Differs"]
const matrix: Readonly<Record<SagaState, Readonly<Record<"living" | "over", ReadonlyArray<string>>>>> = {
  none: { living: closed, over: closed },
  authorized: { living: held, over: heldForNobody },
  capture_pending: { living: held, over: heldForNobody },
  capture_failed: { living: held, over: heldForNobody },
  captured: { living: taken, over: ["Differs", "Differs", "GiveBack", "Differs", "Follow", "Differs", "Differs"] },
  voided: { living: closed, over: closed },
  refunded: {
    living: ["Differs", "Differs", "Follow", "Differs", "Sound", "Differs", "Differs"],
    over: ["Differs", "Differs", "Follow", "Differs", "Sound", "Differs", "Differs"]
  }
}

describe("given what we have of a payment, and what the provider has", () => {
  for (const saga of SagaState.literals) {
    for (const order of ["living", "over"] as const) {
      it(`when ours is ${saga} and its order is ${order}, then it is judged by what the provider says`, () => {
        assert.deepStrictEqual(
          columns.map((found) => judged(standing(saga, order), found)),
          matrix[saga][order]
        )
      })
    }
  }

  it("when its checkout is under way, or its own timer looks it up, then it is left to them, whatever there is", () => {
    for (const saga of SagaState.literals) {
      for (const found of columns) {
        assert.strictEqual(judged(standing(saga, "none", { confirming: true }), found), "UnderWay")
        assert.strictEqual(judged(standing(saga, "none", { waiting: true }), found), "UnderWay")
      }
    }
  })

  it("when the authorization is not the one which the payment stands on, then what it holds goes back, also during a checkout", () => {
    const of = standing("authorized", "none", { confirming: true })
    assert.deepStrictEqual(
      columns.map((found) => judged(of, found, "pi_2")),
      closed
    )
  })

  it("when a failed compensation has it, then it is left to that", () => {
    assert.strictEqual(judged(standing("captured", "over", { recorded: true }), "captured"), "UnderWay")
    assert.strictEqual(judged(standing("capture_failed", "over", { recorded: true }), "held"), "UnderWay")
  })

  it("when a refund is under way, then the provider may have taken it on or not, and no more is given back", () => {
    const of = standing("captured", "over", { refundPending: 100n })
    assert.strictEqual(judged(of, "captured"), "Sound")
    assert.strictEqual(judged(of, "refunded"), "Sound")
  })
})
