import { createServer } from "node:http"
import { gunzipSync } from "node:zlib"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestConsole } from "effect/testing"
import * as Telemetry from "../../src/layers/Telemetry.ts"

const settings: Telemetry.TelemetrySettings = {
  LOG_FORMAT: "auto",
  LOG_LEVEL: "info",
  OTEL_EXPORTER_OTLP_ENDPOINT: undefined,
  OTEL_EXPORTER_OTLP_HEADERS: undefined,
  OTEL_SERVICE_NAME: "shop"
}
const options: Telemetry.TelemetryOptions = { version: "1.2.3", instance: "10.0.0.7:5005", terminal: false }

const logged = (given: Partial<Telemetry.TelemetrySettings>, terminal = false) =>
  Effect.gen(function* () {
    const before = (yield* TestConsole.logLines).length
    yield* Effect.all([
      Effect.logDebug("quiet"),
      Effect.logInfo("a payment", { secret: Redacted.make("pi_123") }).pipe(Effect.annotateLogs({ orderId: "order-1" }))
    ]).pipe(Effect.provide(Telemetry.layer({ ...settings, ...given }, { ...options, terminal })))
    return (yield* TestConsole.logLines).slice(before).map(String)
  })

layer(TestConsole.layer)("given a node's log", (it) => {
  it.effect("when nobody watches, then each entry is a line of JSON, and what is redacted stays so (REQ-SEC-02)", () =>
    Effect.gen(function* () {
      const lines = yield* logged({})
      assert.lengthOf(lines, 1)
      const entry: unknown = JSON.parse(lines[0]!)
      assert.nestedPropertyVal(entry, "level", "INFO")
      assert.nestedPropertyVal(entry, "annotations.orderId", "order-1")
      assert.notInclude(lines[0], "pi_123")
    })
  )

  it.effect("when a level is set, then what is below it is not logged", () =>
    Effect.gen(function* () {
      assert.lengthOf(yield* logged({ LOG_LEVEL: "debug" }), 2)
      assert.lengthOf(yield* logged({ LOG_LEVEL: "error" }), 0)
    })
  )

  it.effect("when a person watches, then it is written for people, unless JSON is asked for", () =>
    Effect.gen(function* () {
      assert.match((yield* logged({}, true))[0]!, /INFO .*a payment/)
      const [line] = yield* logged({ LOG_FORMAT: "json" }, true)
      assert.nestedPropertyVal(JSON.parse(line!), "level", "INFO")
    })
  )
})

describe("given a collector", () => {
  it.live("when a node works, then its spans and logs arrive with its name, version and key", () =>
    Effect.gen(function* () {
      const seen: Array<{ readonly path: string; readonly key: string | undefined; readonly body: string }> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const made = createServer((request, response) => {
            const chunks: Array<Buffer> = []
            request.on("data", (chunk: Buffer) => chunks.push(chunk))
            request.on("end", () => {
              const body = Buffer.concat(chunks)
              const text = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
              seen.push({
                path: request.url ?? "",
                key: request.headers["x-api-key"]?.toString(),
                body: text.toString()
              })
              response.end("{}")
            })
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
        }),
        (made) => Effect.sync(() => made.close())
      )
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      yield* Effect.logInfo("hello").pipe(
        Effect.withSpan("work"),
        Effect.provide(
          Telemetry.layer(
            {
              ...settings,
              OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
              OTEL_EXPORTER_OTLP_HEADERS: Redacted.make("x-api-key = abc=, other=1")
            },
            options
          )
        )
      )
      const traces = seen.find(({ path }) => path === "/v1/traces")
      assert.strictEqual(traces?.key, "abc=")
      for (const part of ['"work"', '"shop"', '"1.2.3"', '"10.0.0.7:5005"']) assert.include(traces?.body, part)
      assert.include(seen.find(({ path }) => path === "/v1/logs")?.body, "hello")
    }).pipe(Effect.scoped)
  )

  it.live("when it does not answer, then the node works and ends all the same", () =>
    Effect.gen(function* () {
      yield* Effect.void.pipe(
        Effect.withSpan("work"),
        Effect.provide(Telemetry.layer({ ...settings, OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" }, options)),
        Effect.timeout("5 seconds")
      )
    })
  )
})
