/**
 * A process which does what an operator asks for to a paid order of a seller's lamp, and dies by SIGKILL at its n-th boundary: before or after
 * a write of the journal, before or after a call to the provider. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CheckoutId, IdempotencyKey } from "../../src/domain/Ids.ts"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { olga } from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

export type Deed = "release" | "refund"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  readonly deed: Deed
  readonly orderId: string
  /** The operator's key, which is repeated afterwards. */
  readonly key: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

/** Half of what the lamp and its shipping came to. */
const amount = 745n

/** Postings about the order in the seller's books. Of two nodes who both believe that these are theirs one may remember them as they were. */
const postings = (orderId: string) =>
  Effect.flatMap(SqlClient, (sql) => sql`select from escrow.postings where order_id = ${orderId}`)

/** What is asked for, by whoever is there, until it is posted: in the process that dies, and in those that come after it. */
export const ask = ({ deed, key, orderId }: Pick<Arguments, "deed" | "key" | "orderId">) =>
  Effect.gen(function* () {
    const placement = yield* Placement
    const id = CheckoutId.make(orderId)
    const given = { key: IdempotencyKey.make(key), by: olga }
    yield* deed === "release"
      ? placement.client(Payment)(id).ReleaseEscrow(given)
      : placement
          .client(Refunds)(id)
          .Request({ ...given, refund: operatorRefund(given.key), amount, reason: "A scratch" })
    // The first one is what was held.
    yield* eventually(postings(orderId), ({ length }) => length === 2)
  })

const started = process.argv[1]?.endsWith("CrashingEscrow.ts") === true

if (started) {
  const given: Arguments = JSON.parse(process.argv[2]!)
  const { aroundStore, between, end } = boundariesOf(given.dieAt, { counting: true })
  const crashingGateway = Layer.effect(
    PaymentGateway,
    Effect.map(PaymentGateway, (gateway) =>
      PaymentGateway.of({ ...gateway, refund: (request) => between(gateway.refund(request)) })
    )
  ).pipe(Layer.provideMerge(Shop.stripe(given.sandboxPort)))
  const shop = Shop.shopOn(Redacted.make(given.databaseUrl), Shop.quickLimits, { aroundStore }).pipe(
    Layer.provide(crashingGateway)
  )
  NodeRuntime.runMain(Effect.andThen(ask(given), end).pipe(Effect.provide(shop), Effect.orDie))
}
