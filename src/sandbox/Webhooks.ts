/**
 * Tells the shop what happened, as the provider does: signed, more than once if need be, in no promised order. Each can be made worse on
 * purpose. Source of the signature: the provider's manual on webhooks; the SDK's `constructEvent` accepts it.
 */
import { createHmac, randomUUID } from "node:crypto"
import { Clock, Duration, Effect, FiberSet, Schedule } from "effect"
import type { Scope } from "effect"
import type { Change, PaymentProvider } from "./PaymentProvider.ts"
import { event, paymentIntent, refund } from "./StripeObjects.ts"

export interface WebhookOptions {
  /** Where to; nothing is sent without it. */
  readonly url: string
  /** The shop's endpoint secret, `whsec_...`. */
  readonly secret: string
  /** Sends everything twice. */
  readonly duplicate?: boolean
  /** Holds what happens within this time, and sends it last first. */
  readonly reorderWithin?: Duration.Input
  readonly delay?: Duration.Input
}

/** Sends a webhook for every change from now on, in the background; ones which are not accepted are repeated a few times. */
export const start = Effect.fnUntraced(function* (
  provider: PaymentProvider["Service"],
  options: WebhookOptions,
  sandboxUrl: string
): Effect.fn.Return<void, never, Scope.Scope> {
  const run = yield* FiberSet.makeRuntime()
  let held: Array<string> = []

  const flush = Effect.suspend(() => {
    const batch = held.toReversed()
    held = []
    return Effect.forEach(batch, (body) => deliver(options, body), { discard: true })
  })

  const post = (body: string): void => {
    const delay = Duration.fromInputUnsafe(options.delay ?? 0)
    if (options.reorderWithin === undefined) {
      run(Effect.andThen(Effect.sleep(delay), deliver(options, body)))
      return
    }
    held.push(body)
    if (held.length === 1)
      run(Effect.andThen(Effect.sleep(Duration.sum(delay, Duration.fromInputUnsafe(options.reorderWithin))), flush))
  }

  provider.observe({
    changed: (change) => {
      for (const body of bodiesOf(change, sandboxUrl)) {
        post(body)
        if (options.duplicate === true) post(body)
      }
    },
    reset: () => {
      held = []
    }
  })
})

/** The header which proves that the body is ours. `timestamp` is in seconds. */
export const signatureHeader = (body: string, secret: string, timestamp: number): string =>
  `t=${timestamp},v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`

const bodiesOf = (change: Change, url: string): ReadonlyArray<string> =>
  change.events.map((type) =>
    JSON.stringify(
      event({
        id: `evt_${randomUUID().replaceAll("-", "").slice(0, 24)}`,
        type,
        createdAt: change.at,
        key: change.stored?.key ?? null,
        object:
          change.refund !== undefined
            ? refund(change.refund)
            : change.intent && paymentIntent(change.intent, { url, expandCharge: false })
      })
    )
  )

const deliver = (options: WebhookOptions, body: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const timestamp = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const response = yield* Effect.tryPromise((signal) =>
      fetch(options.url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "stripe-signature": signatureHeader(body, options.secret, timestamp)
        },
        body,
        signal
      })
    )
    yield* Effect.promise(async () => response.body?.cancel())
    if (!response.ok) return yield* Effect.fail(response.status)
  }).pipe(
    Effect.timeout("20 seconds"),
    Effect.retry({ schedule: Schedule.exponential("1 second"), times: 5 }),
    Effect.catch((problem) => Effect.logWarning("A webhook was not accepted, and is given up", String(problem)))
  )
