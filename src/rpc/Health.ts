/** What an orchestrator and a scraper ask: live, ready, started, metrics. REQ-OPS-01, REQ-OBS-02. */
import { Context, Duration, Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Draining } from "./Draining.ts"

export interface ReadinessReport {
  readonly ready: boolean
  /** By name, e.g. `database`; names only, since anybody may ask. */
  readonly checks: Readonly<Record<string, boolean>>
}

/** Whether this node can serve: database reachable, migrations current, shards assigned. */
export class Readiness extends Context.Service<Readiness, { readonly report: Effect.Effect<ReadinessReport> }>()(
  "cartwright/rpc/Health/Readiness"
) {}

/** `/healthz`, `/readyz`, `/startupz`, `/metrics`. */
export const routes: Layer.Layer<never, never, HttpRouter.HttpRouter | Readiness | Draining> = Layer.mergeAll(
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const readiness = yield* Readiness
      const draining = yield* Draining
      let started = false

      const report = readiness.report.pipe(
        Effect.timeoutOrElse({
          duration: reportTimeout,
          orElse: () => Effect.succeed({ ready: false, checks: { answeredInTime: false } })
        })
      )
      yield* router.add("GET", "/healthz", HttpServerResponse.jsonUnsafe({ live: true }))
      yield* router.add(
        "GET",
        "/readyz",
        Effect.gen(function* () {
          const { checks, ready } = yield* report
          const serving = !(yield* draining.hasBegun)
          return answer(ready && serving, { ready: ready && serving, checks: { ...checks, serving } })
        })
      )
      yield* router.add(
        "GET",
        "/startupz",
        Effect.gen(function* () {
          if (!started) started = (yield* report).ready
          return answer(started, { started })
        })
      )
    })
  ),
  PrometheusMetrics.layerHttp({ path: "/metrics" })
)

const reportTimeout = Duration.seconds(2)

const answer = (well: boolean, body: object) => HttpServerResponse.jsonUnsafe(body, { status: well ? 200 : 503 })
