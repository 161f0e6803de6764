/** PagerDuty, Events API v2: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/. Its `dedup_key` is the alert's id. */
import { DateTime, type Duration, Redacted } from "effect"
import { type AlertSink, detailsOf, post } from "./AlertSinks.ts"

export interface PagerDutyOptions {
  /** Of a service's integration. */
  readonly routingKey: Redacted.Redacted<string>
  /** E.g. `https://events.pagerduty.com`, or `https://events.eu.pagerduty.com`. */
  readonly url: string
  /** What raised it, as people know it: the cluster's name. */
  readonly source: string
  readonly timeout: Duration.Duration
}

/** The longest that the API takes. */
const summaryMax = 1024

export const make = ({ routingKey, source, timeout, url }: PagerDutyOptions): AlertSink => ({
  name: "pagerduty",
  send: ({ action, details, id, kind, page, raisedAt, raises, severity, summary }) =>
    post({
      url: `${url.replace(/\/+$/, "")}/v2/enqueue`,
      timeout,
      headers: {},
      body: JSON.stringify({
        routing_key: Redacted.value(routingKey),
        event_action: action,
        dedup_key: id,
        ...(action === "trigger"
          ? {
              payload: {
                summary: summary.slice(0, summaryMax),
                source,
                // Its severities are critical, error, warning and info: ours are among them.
                severity,
                timestamp: DateTime.formatIso(raisedAt),
                class: kind,
                custom_details: { ...detailsOf(details), raises, page }
              }
            }
          : {})
      })
    })
})
