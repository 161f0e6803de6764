/**
 * Tells the shop what happened, as the provider does: signed, more than once if need be, in no promised order. Each can be made worse on
 * purpose, by the card, by the sandbox's own plan, or one by one.
 */
import { randomUUID } from "node:crypto"
import { Clock, Effect, FiberSet, Schedule } from "effect"
import type { Scope } from "effect"
import { forge, forgeryKinds } from "./Forgeries.ts"
import type { Forgery, ForgeryKind } from "./Forgeries.ts"
import type { EventName } from "./IntentRules.ts"
import type { Change, PaymentProvider } from "./PaymentProvider.ts"
import { signatureHeader } from "./Signature.ts"
import { chargeOfIntent, dispute, event, paymentIntent, refund } from "./StripeObjects.ts"
import { findTestToken } from "./TestTokens.ts"
import { nothingWrong } from "./WebhookPlan.ts"
import type { WebhookPlan } from "./WebhookPlan.ts"

export interface WebhookOptions {
  /** Where to; nothing is sent without it. */
  readonly url: string
  /** The shop's endpoint secret, `whsec_...`. */
  readonly secret: string
  /** What goes wrong with all of them, until somebody says otherwise. */
  readonly plan?: Partial<WebhookPlan>
}

/** One webhook, as the shop was told of it. */
export interface SentWebhook {
  readonly id: string
  readonly type: EventName
  readonly paymentIntent: string
  /** How often it was sent, and what the shop answered last: a status, or what went wrong. */
  readonly sends: number
  readonly lastAnswer: string | undefined
}

export interface Webhooks {
  /** Those of late, oldest first; a thousand are kept. */
  readonly sent: () => ReadonlyArray<SentWebhook>
  /** Sends one again, so many times at once. False when it is not among those of late. */
  readonly resend: (id: string, times: number) => boolean
  /** Sends what somebody might who wants to be taken for the provider. */
  readonly forge: (id: string, kind: ForgeryKind) => boolean
  readonly plan: () => WebhookPlan
  readonly setPlan: (plan: Partial<WebhookPlan>) => void
}

/** Sends a webhook for every change from now on, in the background; ones which are not accepted are repeated for some minutes. */
export const start = Effect.fnUntraced(function* (
  provider: PaymentProvider["Service"],
  options: WebhookOptions,
  sandboxUrl: string
): Effect.fn.Return<Webhooks, never, Scope.Scope> {
  const run = yield* FiberSet.makeRuntime()
  const clock = yield* Clock.Clock
  const kept = new Map<string, Told>()
  let held: Array<{ readonly told: Told; readonly plan: WebhookPlan }> = []
  let general: WebhookPlan = { ...nothingWrong, ...options.plan }

  const send = (told: Told): Effect.Effect<void> =>
    Effect.gen(function* () {
      const timestamp = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      told.sends++
      const status = yield* post(options.url, told.body, signatureHeader(told.body, options.secret, timestamp)).pipe(
        Effect.tapError((problem) => Effect.sync(() => (told.lastAnswer = problem)))
      )
      told.lastAnswer = String(status)
      if (status < 200 || status > 299) return yield* Effect.fail(told.lastAnswer)
    }).pipe(
      Effect.retry({ schedule: Schedule.exponential("1 second"), times: 8 }),
      Effect.catch((problem) => Effect.logWarning("A webhook was not accepted, and is given up", problem))
    )

  const sendForgery = ({ body, signature }: Forgery): Effect.Effect<void> =>
    Effect.ignore(post(options.url, body, signature))

  const deliver = ({ told, plan }: { readonly told: Told; readonly plan: WebhookPlan }): Effect.Effect<void> => {
    const genuine = Effect.all(
      Array.from({ length: plan.copies }, () => send(told)),
      { concurrency: "unbounded", discard: true }
    )
    if (!plan.forged) return genuine
    const now = Math.floor(clock.currentTimeMillisUnsafe() / 1000)
    return Effect.forEach(forgeryKinds, (kind) => sendForgery(forge(kind, told.body, options.secret, now)), {
      discard: true
    }).pipe(Effect.andThen(genuine))
  }

  const flush = Effect.suspend(() => {
    const batch = held.toReversed()
    held = []
    return Effect.forEach(batch, deliver, { discard: true })
  })

  const enqueue = (told: Told, plan: WebhookPlan): void => {
    if (plan.reorderWithinMs === 0) {
      run(Effect.andThen(Effect.sleep(plan.delayMs), deliver({ told, plan })))
      return
    }
    held.push({ told, plan })
    if (held.length === 1) run(Effect.andThen(Effect.sleep(plan.delayMs + plan.reorderWithinMs), flush))
  }

  const keep = (told: Told): void => {
    kept.set(told.id, told)
    if (kept.size <= keptMax) return
    const [oldest = ""] = kept.keys()
    kept.delete(oldest)
  }

  provider.observe({
    changed: (change, token) => {
      const plan = { ...general, ...findTestToken(token ?? "")?.webhooks }
      for (const told of toldOf(change, sandboxUrl)) {
        keep(told)
        enqueue(told, plan)
      }
    },
    reset: () => {
      held = []
      kept.clear()
      general = { ...nothingWrong, ...options.plan }
    }
  })

  return {
    sent: () => [...kept.values()].map(({ body: _, ...sent }) => sent),
    resend: (id, times) => {
      const told = kept.get(id)
      if (told === undefined) return false
      run(deliver({ told, plan: { ...nothingWrong, copies: times } }))
      return true
    },
    forge: (id, kind) => {
      const told = kept.get(id)
      if (told === undefined) return false
      const now = Math.floor(clock.currentTimeMillisUnsafe() / 1000)
      run(sendForgery(forge(kind, told.body, options.secret, now)))
      return true
    },
    plan: () => general,
    setPlan: (plan) => {
      general = { ...general, ...plan }
    }
  }
})

const keptMax = 1_000

interface Told {
  readonly id: string
  readonly type: EventName
  readonly paymentIntent: string
  readonly body: string
  sends: number
  lastAnswer: string | undefined
}

const toldOf = (change: Change, url: string): ReadonlyArray<Told> =>
  change.events.map((type) => {
    const id = `evt_${randomUUID().replaceAll("-", "").slice(0, 24)}`
    const body = JSON.stringify(
      event({ id, type, createdAt: change.at, key: change.stored?.key ?? null, object: subjectOf(type, change, url) })
    )
    return { id, type, paymentIntent: change.intent?.terms.id ?? "", body, sends: 0, lastAnswer: undefined }
  })

const subjectOf = (type: EventName, change: Change, url: string): unknown => {
  if (type.startsWith("refund.")) return change.refund && refund(change.refund)
  if (type.startsWith("charge.dispute.")) return change.dispute && dispute(change.dispute)
  if (type === "charge.refunded") return change.intent && chargeOfIntent(change.intent)
  return change.intent && paymentIntent(change.intent, { url, expandCharge: false })
}

const post = (url: string, body: string, signature: string | undefined): Effect.Effect<number, string> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(signature === undefined ? {} : { "stripe-signature": signature })
        },
        body,
        signal
      })
      await response.body?.cancel()
      return response.status
    },
    catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
  }).pipe(Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.fail("no answer") }))
