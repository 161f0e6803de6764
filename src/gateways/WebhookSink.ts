/**
 * Any web hook. The body is signed with a shared secret together with the time, so that its receiver can tell it from anybody else's and
 * from an old one: `x-cartwright-signature: v1=<hex of HMAC-SHA256 over "<x-cartwright-timestamp>.<body>">`.
 */
import { createHmac } from "node:crypto"
import { DateTime, type Duration, Effect, Redacted } from "effect"
import { type AlertSink, detailsOf, post } from "./AlertSinks.ts"

export interface WebhookSinkOptions {
  readonly url: Redacted.Redacted<string>
  readonly secret: Redacted.Redacted<string>
  readonly timeout: Duration.Duration
}

export const make = ({ secret, timeout, url }: WebhookSinkOptions): AlertSink => ({
  name: "webhook",
  send: Effect.fn("WebhookSink.send")(function* ({ action, details, id, page, raisedAt, ...told }) {
    const timestamp = Math.floor((yield* DateTime.now).epochMilliseconds / 1000)
    const body = JSON.stringify({
      id,
      action,
      page,
      ...told,
      raisedAt: DateTime.formatIso(raisedAt),
      details: detailsOf(details)
    })
    const signature = createHmac("sha256", Redacted.value(secret)).update(`${timestamp}.${body}`).digest("hex")
    yield* post({
      url: Redacted.value(url),
      timeout,
      body,
      headers: {
        // The same for each repetition: a receiver knows by it what it has seen.
        "x-cartwright-event": `${id}:${page}:${action}`,
        "x-cartwright-timestamp": `${timestamp}`,
        "x-cartwright-signature": `v1=${signature}`
      }
    })
  })
})
