import { Schema } from "effect"
import { isoOf, keepFirst, present, type StateTable } from "../../runtime/Table.ts"
import { CheckoutState } from "./CheckoutSession.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(CheckoutState))

export const checkoutSessionTable: StateTable<CheckoutState> = {
  name: "checkout.sessions",
  columns: {
    status: "text",
    owner: "text",
    cart_id: "text",
    currency: "text",
    shipping_address: "jsonb",
    shipping_method: "text",
    payment_method: "text",
    promotion_code: "text",
    attempt: "int",
    attempts: "jsonb",
    terms: "jsonb",
    confirming_since: "timestamptz",
    changed_at: "timestamptz"
  },
  immutable: ["owner", "cart_id", "currency"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent checkout has no row")
    return {
      status: state.status,
      owner: state.owner,
      cart_id: state.cartId,
      currency: state.currency,
      shipping_address: state.shippingAddress,
      shipping_method: state.shippingMethod,
      payment_method: state.paymentMethod,
      promotion_code: state.promotionCode,
      attempt: state.attempt,
      attempts: state.attempts,
      terms: state.terms,
      confirming_since: state.confirmingSince,
      changed_at: state.changedAt
    }
  },
  fromRow: (row) =>
    decode({
      _tag: "Present",
      status: row["status"],
      owner: row["owner"],
      cartId: row["cart_id"],
      currency: row["currency"],
      shippingMethod: row["shipping_method"],
      attempt: row["attempt"],
      attempts: row["attempts"],
      changedAt: isoOf(row["changed_at"]),
      ...present({
        shippingAddress: row["shipping_address"],
        paymentMethod: row["payment_method"],
        promotionCode: row["promotion_code"],
        terms: row["terms"],
        confirmingSince: isoOf(row["confirming_since"])
      })
    })
}

/** The step log of each attempt: written with the step, so that it cannot say what did not happen. REQ-CHK-15. */
export const checkoutSteps = keepFirst({
  name: "checkout.steps",
  columns: {
    checkout_id: "text",
    attempt: "int",
    step: "text",
    outcome: "text",
    started_at: "timestamptz",
    ended_at: "timestamptz"
  }
})
