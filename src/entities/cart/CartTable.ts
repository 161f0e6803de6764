import { Schema } from "effect"
import { isoOf, type StateTable } from "../../runtime/Table.ts"
import { CartState } from "./Cart.ts"
import { statusOf } from "./CartDecider.ts"

const columns = {
  owner: "text",
  currency: "text",
  status: "text",
  lines: "jsonb",
  revision: "int",
  changed_at: "timestamptz",
  merged_from: "jsonb",
  merged_into: "text",
  checkout_id: "text",
  attempt: "int",
  locked_at: "timestamptz",
  order_id: "text"
}

const tags: Readonly<Record<string, CartState["_tag"]>> = {
  active: "Active",
  locked: "Locked",
  completed: "Completed",
  merged: "Merged",
  expired: "Expired"
}

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(CartState))

export const cartTable: StateTable<CartState> = {
  name: "checkout.carts",
  columns,
  immutable: ["owner", "currency"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent cart has no row")
    return {
      owner: state.owner,
      currency: state.currency,
      status: statusOf(state),
      lines: state.lines,
      revision: state.revision,
      changed_at: state.changedAt,
      merged_from: state.mergedFrom,
      merged_into: state._tag === "Merged" ? state.into : undefined,
      checkout_id: state._tag === "Locked" || state._tag === "Completed" ? state.checkoutId : undefined,
      attempt: state._tag === "Locked" ? state.attempt : undefined,
      locked_at: state._tag === "Locked" ? state.lockedAt : undefined,
      order_id: state._tag === "Completed" ? state.orderId : undefined
    }
  },
  fromRow: (row) =>
    decode({
      _tag: tags[String(row["status"])],
      owner: row["owner"],
      currency: row["currency"],
      lines: row["lines"],
      revision: row["revision"],
      changedAt: isoOf(row["changed_at"]),
      mergedFrom: row["merged_from"],
      into: row["merged_into"] ?? undefined,
      checkoutId: row["checkout_id"] ?? undefined,
      attempt: row["attempt"] ?? undefined,
      lockedAt: isoOf(row["locked_at"]),
      orderId: row["order_id"] ?? undefined
    })
}
