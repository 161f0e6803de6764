/** What is to go wrong with webhooks on their way: by default nothing does, and each is sent once. */
import { Schema } from "effect"

export const WebhookPlan = Schema.Struct({
  /** How often each one is sent, all at once; 0 drops it. */
  copies: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 })),
  delayMs: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 })),
  /** Holds what happens within this time, and sends it last first; 0 keeps the order. */
  reorderWithinMs: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 })),
  /** Sends forged ones before each. */
  forged: Schema.Boolean
})
export type WebhookPlan = typeof WebhookPlan.Type

export const nothingWrong: WebhookPlan = { copies: 1, delayMs: 0, reorderWithinMs: 0, forged: false }
