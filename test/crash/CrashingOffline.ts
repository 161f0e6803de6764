/**
 * A process which lets one thing be done to one order that is paid in cash or by transfer, and dies by SIGKILL at its n-th boundary: before
 * or after a write of the journal. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { DateTime, Duration, Effect, Layer, Redacted } from "effect"
import { CheckoutId, CustomerId, IdempotencyKey } from "../../src/domain/Ids.ts"
import { BankTransactionId } from "../../src/entities/payment/Receipt.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { OfflinePayments } from "../../src/workflows/offline/OfflinePayments.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

/** The last two are done by the order's own timers, at once: nobody asks for them. */
export type Deed = "place" | "confirm" | "cash" | "transfer" | "give back" | "confirm by itself" | "lapse"

export interface Arguments {
  readonly databaseUrl: string
  readonly id: string
  readonly customer: string
  readonly deed: Deed
  /** Of whatever is asked for: the same again is the same. */
  readonly key: string
  readonly amount: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

export const limitsOf = (deed: Deed) => {
  const window = deed === "lapse" ? Duration.seconds(1) : Duration.hours(24)
  const offline = { cash_on_delivery: window, bank_transfer: window }
  const confirmCashAfter = deed === "confirm by itself" ? Duration.seconds(1) : undefined
  return {
    ...Shop.quickLimits,
    reservation: { ...Shop.quickLimits.reservation, offline },
    order: { ...Shop.quickLimits.order, offline, confirmCashAfter }
  }
}

/** What is asked for, by whoever is there: in the process that dies, and in the one that comes after it. */
export const ask = ({
  amount,
  customer,
  deed,
  id,
  key
}: Pick<Arguments, "amount" | "customer" | "deed" | "id" | "key">) =>
  Effect.gen(function* () {
    const placement = yield* Placement
    const orders = placement.client(OfflinePayments)(id)
    const by = CustomerId.make("olga")
    const receivedAt = DateTime.makeUnsafe("2026-01-02T09:30:00Z")
    const money = { by, amount: BigInt(amount), receivedAt }
    switch (deed) {
      case "place":
        return yield* placement
          .client(Checkout, { timeout: Shop.patience })(CheckoutId.make(id))
          .Confirm({ by: CustomerId.make(customer), confirmKey: IdempotencyKey.make(key) })
      case "confirm":
        return yield* orders.ConfirmCash({ by })
      case "cash":
        return yield* orders.RecordCash({ ...money, key: IdempotencyKey.make(key) })
      case "transfer":
        return yield* orders.RecordTransfer({ ...money, bankTransactionId: BankTransactionId.make(key) })
      case "give back":
        return yield* orders.RecordGivenBack({
          key: IdempotencyKey.make(key),
          by,
          amount: BigInt(amount),
          reason: "Sent back"
        })
      case "confirm by itself":
      case "lapse":
        return undefined
    }
  })

const started = process.argv[1]?.endsWith("CrashingOffline.ts") === true

if (started) {
  const given: Arguments = JSON.parse(process.argv[2]!)
  const { aroundStore, end } = boundariesOf(given.dieAt, { counting: true })
  const shop = Shop.shopOn(Redacted.make(given.databaseUrl), limitsOf(given.deed), {
    aroundStore
  }).pipe(Layer.provide(Shop.gateway()))
  NodeRuntime.runMain(
    Effect.gen(function* () {
      yield* Effect.ignore(ask(given))
      // What follows of it (timers, the cart, alerts) belongs to it.
      yield* Effect.sleep("1 second")
      return yield* end
    }).pipe(Effect.provide(shop), Effect.orDie)
  )
}
