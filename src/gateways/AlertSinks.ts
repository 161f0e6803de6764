/** Who is told of alerts: one interface, whether that is a log, a web hook or a pager. A sink that has accepted an alert looks after it. */
import { Context, Data, DateTime, Duration, Effect } from "effect"
import type { AlertAction, AlertDetails, AlertSeverity } from "../entities/alert/Alert.ts"

/** What a sink is told. The same alert, page and action may come again: its answer was lost. */
export interface AlertPage {
  /** The alert's own id: sinks which know duplicates by a key know them by this. */
  readonly id: string
  readonly action: AlertAction
  /** Counts from 1. */
  readonly page: number
  readonly kind: string
  readonly severity: AlertSeverity
  readonly summary: string
  readonly details: AlertDetails
  readonly raises: number
  readonly raisedAt: DateTime.Utc
}

/** Not accepted, as far as we know. `retryAfter` is what the sink asks for. */
export class SinkFailed extends Data.TaggedError("SinkFailed")<{
  readonly error: string
  readonly retryAfter?: Duration.Duration
}> {}

export interface AlertSink {
  /** Stands in stored alerts: never renamed. */
  readonly name: string
  /** Bounded in time; succeeds once the sink has accepted it. */
  readonly send: (page: AlertPage) => Effect.Effect<void, SinkFailed>
}

/** Those which are set up; none unless a node says otherwise. */
export const AlertSinks: Context.Reference<ReadonlyArray<AlertSink>> = Context.Reference(
  "cartwright/gateways/AlertSinks",
  { defaultValue: (): ReadonlyArray<AlertSink> => [] }
)

/** The details as any receiver reads them: amounts as text, since JSON has no such numbers. */
export const detailsOf = ({ amount, ...details }: AlertDetails) => ({
  ...details,
  ...(amount === undefined ? {} : { amount: amount.toString() })
})

/** Writes it into the node's own log. */
export const logSink: AlertSink = {
  name: "log",
  send: ({ action, details, id, kind, page, severity, summary }) => {
    const entry = [`Alert ${action}: ${summary}`, { alert: id, kind, severity, page, ...detailsOf(details) }] as const
    if (action !== "trigger" || severity === "info") return Effect.logInfo(...entry)
    return severity === "critical" ? Effect.logError(...entry) : Effect.logWarning(...entry)
  }
}

export interface Post {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly timeout: Duration.Duration
}

/** One call; what is not a success is a failure, and so is a redirection: secrets go where they were meant to go, or nowhere. */
export const post = ({ body, headers, timeout, url }: Post): Effect.Effect<void, SinkFailed> =>
  Effect.tryPromise({
    try: async (signal) => {
      const answer = await fetch(url, {
        method: "POST",
        redirect: "manual",
        signal,
        body,
        headers: { "content-type": "application/json", ...headers }
      })
      await answer.body?.cancel()
      return { status: answer.status, retryAfter: answer.headers.get("retry-after") }
    },
    // The address may hold a secret, and so may the text of the error.
    catch: () => new SinkFailed({ error: "no answer" })
  }).pipe(
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(new SinkFailed({ error: `no answer within ${Duration.format(timeout)}` }))
    }),
    Effect.flatMap(({ retryAfter, status }) =>
      status >= 200 && status < 300
        ? Effect.void
        : Effect.flatMap(DateTime.now, (now) => {
            const pause = retryAfter === null ? undefined : pauseOf(retryAfter, now)
            return Effect.fail(
              new SinkFailed({ error: `answered ${status}`, ...(pause === undefined ? {} : { retryAfter: pause }) })
            )
          })
    )
  )

/** Seconds, or an instant. RFC 9110, 10.2.3. */
const pauseOf = (text: string, now: DateTime.Utc): Duration.Duration | undefined => {
  if (/^\d{1,6}$/.test(text)) return Duration.seconds(Number(text))
  const instant = Date.parse(text)
  return Number.isNaN(instant) ? undefined : Duration.millis(Math.max(0, instant - now.epochMilliseconds))
}
