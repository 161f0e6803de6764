/** `POST /webhooks/{provider}`, on the bytes as they come. Answers say nothing but their status. REQ-WHK-02, REQ-WHK-03. */
import { ByteSize, Duration, Effect, Metric } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Draining } from "../Draining.ts"
import { type Reception, WebhookReceiver } from "./WebhookReceiver.ts"

export const webhookPath = "/webhooks/"

/** REQ-OBS, MET-18. */
const received = Metric.counter("webhooks_total", { description: "Webhooks by provider and answer", incremental: true })

const statuses: Readonly<Record<Reception | Refusal, number>> = {
  accepted: 200,
  duplicate: 200,
  ignored: 200,
  unreadable: 400,
  forged: 401,
  unknown: 404,
  wrong_method: 405,
  contradiction: 409,
  too_large: 413,
  wrong_type: 415,
  unavailable: 503
}

type Refusal = "wrong_method" | "wrong_type" | "too_large"

export interface WebhookRouteOptions {
  /** Of one body; more is answered with 413. */
  readonly bodyMax: number
  /** A provider that hears nothing for longer sends it again. */
  readonly timeLimit: Duration.Duration
}

export const routes = ({ bodyMax, timeLimit }: WebhookRouteOptions) =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const { receive } = yield* WebhookReceiver
      const draining = yield* Draining

      const answer = (provider: string) =>
        Effect.gen(function* (): Effect.fn.Return<Reception | Refusal, never, HttpServerRequest.HttpServerRequest> {
          const request = yield* HttpServerRequest.HttpServerRequest
          const { headers, method } = request
          if (method !== "POST") return "wrong_method"
          if (!isJson(headers["content-type"])) return "wrong_type"
          if (Number(headers["content-length"] ?? 0) > bodyMax) return "too_large"
          // What has begun ends within the drain; what comes now goes to another node.
          if (yield* draining.hasBegun) return "unavailable"
          const body = yield* Effect.exit(
            Effect.provideService(request.arrayBuffer, HttpIncomingMessage.MaxBodySize, ByteSize.bytes(bodyMax))
          )
          // It said less than it sent, or hung up, and then nobody reads this.
          if (body._tag === "Failure") return "too_large"
          return yield* receive(provider, { headers, body: new Uint8Array(body.value) }).pipe(
            Effect.timeoutOrElse({ duration: timeLimit, orElse: () => Effect.succeed<Reception>("unavailable") }),
            Effect.catchDefect((defect) =>
              Effect.as(Effect.logError("A webhook failed in a way nobody planned for", defect), "unavailable" as const)
            )
          )
        })

      yield* router.add(
        "*",
        `${webhookPath}:provider`,
        Effect.gen(function* () {
          const { provider = "" } = yield* HttpRouter.params
          const result = yield* answer(provider)
          const label = result === "unknown" || !/^[a-z]{1,20}$/.test(provider) ? "unknown" : provider
          yield* Metric.update(Metric.withAttributes(received, { provider: label, result }), 1)
          return HttpServerResponse.empty({
            status: statuses[result],
            headers: {
              ...(result === "wrong_method" ? { allow: "POST" } : {}),
              ...(result === "unavailable" ? { "retry-after": "1" } : {}),
              ...(result === "too_large" ? { connection: "close" } : {})
            }
          })
        })
      )
    })
  )

const isJson = (type: string | undefined): boolean =>
  type?.split(";", 1)[0]?.trim().toLowerCase() === "application/json"
