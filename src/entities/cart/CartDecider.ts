/** The cart's state machine, pure. REQUIREMENTS B.20. */
import { Result, Schema } from "effect"
import type { DateTime } from "effect"
import { CartId, CheckoutId, CustomerId, OrderId, Sku } from "../../domain/Ids.ts"
import { Currency } from "../../domain/Money.ts"
import { maxQuantityPerLine, Quantity } from "../../domain/Quantity.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import {
  CartClosed,
  CartLine,
  CartLocked,
  type CartRefusal,
  type CartState,
  type CartView,
  CurrencyMixed,
  LineNotFound,
  maxLines,
  QuantityTooLarge,
  TooManyLines
} from "./Cart.ts"

export const Command = Schema.TaggedUnion({
  AddItem: { by: CustomerId, currency: Currency, sku: Sku, quantity: Quantity },
  UpdateItem: { by: CustomerId, sku: Sku, quantity: Quantity },
  RemoveItem: { by: CustomerId, sku: Sku },
  ClearCart: { by: CustomerId },
  MergeInto: { by: CustomerId, into: CartId, owner: CustomerId },
  Merge: { by: CustomerId, from: CartId, currency: Currency, lines: Schema.Array(CartLine) },
  Lock: { by: CustomerId, checkoutId: CheckoutId, attempt: Schema.Int },
  Unlock: { checkoutId: CheckoutId, attempt: Schema.Int },
  Complete: { checkoutId: CheckoutId, orderId: OrderId },
  /** Idle for too long. */
  Expire: {}
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Opened: { owner: CustomerId, currency: Currency, ...at },
  LinesChanged: { lines: Schema.Array(CartLine), ...at },
  MergedFrom: { from: CartId, ...at },
  MergedInto: { into: CartId, owner: CustomerId, ...at },
  Locked: { checkoutId: CheckoutId, attempt: Schema.Int, ...at },
  Unlocked: at,
  Completed: { checkoutId: CheckoutId, orderId: OrderId, ...at },
  Expired: at
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, CartRefusal>

const nothing: Decision = Result.succeed([])

const setLine = (
  lines: ReadonlyArray<CartLine>,
  sku: Sku,
  quantity: number
): Result.Result<ReadonlyArray<CartLine>, CartRefusal> => {
  if (quantity > maxQuantityPerLine) return Result.fail(new QuantityTooLarge({ sku, maximum: maxQuantityPerLine }))
  const line = { sku, quantity: Quantity.make(quantity) }
  if (lines.some((other) => other.sku === sku)) {
    return Result.succeed(lines.map((other) => (other.sku === sku ? line : other)))
  }
  if (lines.length >= maxLines) return Result.fail(new TooManyLines({ maximum: maxLines }))
  return Result.succeed([...lines, line])
}

/** Fails with what keeps a cart from being changed by `by`. */
const changeable = (state: CartState, by: CustomerId): CartRefusal | undefined => {
  if (state._tag === "Absent") return undefined
  if (state.owner !== by) return new AccessDenied()
  if (state._tag === "Locked") return new CartLocked({ checkoutId: state.checkoutId })
  if (state._tag === "Completed") return new CartClosed({ status: "completed" })
  if (state._tag === "Merged") return new CartClosed({ status: "merged" })
  if (state._tag === "Expired") return new CartClosed({ status: "expired" })
  return undefined
}

const linesOf = (state: CartState): ReadonlyArray<CartLine> => (state._tag === "Absent" ? [] : state.lines)

const opening = (state: CartState, owner: CustomerId, currency: Currency, now: DateTime.Utc): ReadonlyArray<Event> =>
  state._tag === "Absent" ? [{ _tag: "Opened", owner, currency, at: now }] : []

/** What happens next; no events when it has happened already. */
export const decide = (
  state: CartState,
  command: Command,
  { id, now }: { readonly id: string; readonly now: DateTime.Utc }
): Decision => {
  switch (command._tag) {
    case "AddItem": {
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      if (state._tag !== "Absent" && state.currency !== command.currency) {
        return Result.fail(new CurrencyMixed({ currency: state.currency }))
      }
      const lines = linesOf(state)
      const held = lines.find(({ sku }) => sku === command.sku)?.quantity ?? 0
      return Result.map(setLine(lines, command.sku, held + command.quantity), (changed) => [
        ...opening(state, command.by, command.currency, now),
        { _tag: "LinesChanged", lines: changed, at: now }
      ])
    }
    case "UpdateItem": {
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      const line = linesOf(state).find(({ sku }) => sku === command.sku)
      if (line === undefined) return Result.fail(new LineNotFound({ sku: command.sku }))
      if (line.quantity === command.quantity) return nothing
      return Result.map(setLine(linesOf(state), command.sku, command.quantity), (lines) => [
        { _tag: "LinesChanged", lines, at: now }
      ])
    }
    case "RemoveItem": {
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      const lines = linesOf(state).filter(({ sku }) => sku !== command.sku)
      return lines.length === linesOf(state).length
        ? nothing
        : Result.succeed([{ _tag: "LinesChanged", lines, at: now }])
    }
    case "ClearCart": {
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      return linesOf(state).length === 0 ? nothing : Result.succeed([{ _tag: "LinesChanged", lines: [], at: now }])
    }
    case "MergeInto": {
      if (state._tag === "Absent" || command.into === id) return nothing
      if (state._tag === "Merged" && state.owner === command.by && state.into === command.into) return nothing
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      return Result.succeed([{ _tag: "MergedInto", into: command.into, owner: command.owner, at: now }])
    }
    case "Merge": {
      if (state._tag !== "Absent" && state.mergedFrom.includes(command.from)) return nothing
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      if (state._tag !== "Absent" && state.currency !== command.currency && command.lines.length > 0) {
        return Result.fail(new CurrencyMixed({ currency: state.currency }))
      }
      let lines = linesOf(state)
      for (const { quantity, sku } of command.lines) {
        const held = lines.find((line) => line.sku === sku)?.quantity ?? 0
        const next = setLine(lines, sku, Math.min(held + quantity, maxQuantityPerLine))
        if (Result.isFailure(next)) return Result.fail(next.failure)
        lines = next.success
      }
      return Result.succeed([
        ...opening(state, command.by, command.currency, now),
        { _tag: "LinesChanged", lines, at: now },
        { _tag: "MergedFrom", from: command.from, at: now }
      ])
    }
    case "Lock": {
      const { attempt, checkoutId } = command
      if (state._tag === "Locked" && state.owner === command.by && state.checkoutId === checkoutId) {
        if (state.attempt === attempt) return nothing
        // One which comes late must not take the cart back from a later attempt.
        return attempt < state.attempt
          ? Result.fail(new CartLocked({ checkoutId }))
          : Result.succeed([{ _tag: "Locked", checkoutId, attempt, at: now }])
      }
      if (state._tag === "Absent") return Result.fail(new AccessDenied())
      const refusal = changeable(state, command.by)
      if (refusal !== undefined) return Result.fail(refusal)
      return Result.succeed([{ _tag: "Locked", checkoutId, attempt, at: now }])
    }
    case "Unlock":
      // A later attempt may hold it already, and a finished one leaves nothing to unlock.
      return state._tag === "Locked" && state.checkoutId === command.checkoutId && state.attempt === command.attempt
        ? Result.succeed([{ _tag: "Unlocked", at: now }])
        : nothing
    case "Complete": {
      if (state._tag === "Completed" && state.orderId === command.orderId) return nothing
      if (state._tag === "Locked" && state.checkoutId === command.checkoutId) {
        return Result.succeed([
          { _tag: "Completed", checkoutId: command.checkoutId, orderId: command.orderId, at: now }
        ])
      }
      const refusal = state._tag === "Absent" ? undefined : changeable(state, state.owner)
      return Result.fail(refusal ?? new AccessDenied())
    }
    case "Expire":
      return state._tag === "Active" ? Result.succeed([{ _tag: "Expired", at: now }]) : nothing
  }
}

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: CartState, event: Event): CartState => {
  if (event._tag === "Opened") {
    const { currency, owner } = event
    return { _tag: "Active", owner, currency, lines: [], revision: 0, changedAt: event.at, mergedFrom: [] }
  }
  if (state._tag === "Absent") return state
  const { changedAt, currency, lines, mergedFrom, owner, revision } = state
  const contents = { owner, currency, lines, revision, changedAt, mergedFrom }
  switch (event._tag) {
    case "LinesChanged":
      return { ...contents, _tag: "Active", lines: event.lines, revision: revision + 1, changedAt: event.at }
    case "MergedFrom":
      return { ...contents, _tag: "Active", mergedFrom: [...mergedFrom, event.from] }
    case "MergedInto":
      return { ...contents, _tag: "Merged", into: event.into }
    case "Locked":
      return { ...contents, _tag: "Locked", checkoutId: event.checkoutId, attempt: event.attempt, lockedAt: event.at }
    case "Unlocked":
      return { ...contents, _tag: "Active", changedAt: event.at }
    case "Completed":
      return { ...contents, _tag: "Completed", checkoutId: event.checkoutId, orderId: event.orderId }
    case "Expired":
      return { ...contents, _tag: "Expired" }
  }
}

const statuses = {
  Active: "active",
  Locked: "locked",
  Completed: "completed",
  Merged: "merged",
  Expired: "expired"
} as const

export const statusOf = (state: Exclude<CartState, { readonly _tag: "Absent" }>) => statuses[state._tag]

/** The cart as its owner sees it; somebody else's is refused. */
export const view = (state: CartState, id: string, by?: CustomerId): Result.Result<CartView, AccessDenied> => {
  if (state._tag === "Absent") return Result.succeed({ id: CartId.make(id), status: "active", lines: [], revision: 0 })
  if (by !== undefined && state.owner !== by) return Result.fail(new AccessDenied())
  const { currency, lines, revision } = state
  return Result.succeed({ id: CartId.make(id), status: statusOf(state), currency, lines, revision })
}
