import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import * as StripeGateway from "../../src/gateways/StripeGateway.ts"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import { conforms, create, limits } from "./conformance.ts"

/** The SDK against a sandbox of its own, on a free port. */
const layerWithKey = (secretKey: string) =>
  Layer.unwrap(
    Effect.map(Sandbox, ({ host, port }) =>
      StripeGateway.layer({ secretKey: Redacted.make(secretKey), host, port, protocol: "http", limits })
    )
  ).pipe(Layer.provideMerge(Sandbox.layer({ port: 0 })))

const reachable = (expected: boolean) =>
  Effect.gen(function* () {
    const { host, port } = yield* Sandbox
    const found = yield* Effect.callback<boolean>((resume) => {
      const socket = connect(port, host)
      socket.once("error", () => resume(Effect.succeed(false)))
      socket.once("connect", () => {
        socket.destroy()
        resume(Effect.succeed(true))
      })
    })
    if (found !== expected) return yield* Effect.fail("not yet")
  }).pipe(Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))), TestClock.withLive)

conforms("Stripe's SDK", layerWithKey("sk_test_conformance"), reachable)

describe("Stripe's SDK: given a key of ours which the provider does not accept", () => {
  it.effect("when it is used, then nothing is done, nothing given up, and the provider not taken for ill", () =>
    Effect.gen(function* () {
      const gateway = yield* PaymentGateway
      for (let attempt = 0; attempt < 6; attempt++) {
        const error = yield* Effect.flip(create("pm_card_visa"))
        assert.deepInclude(error, { _tag: "ProviderUnavailable", retryAfter: Duration.minutes(1) })
      }
      assert.strictEqual(yield* gateway.breakerState, "closed")
    }).pipe(Effect.provide(layerWithKey("sk_live_wrong")))
  )
})
