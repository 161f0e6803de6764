/**
 * What a node tells about itself: its log, and, where a collector is named, logs, metrics and traces as OTLP. `/metrics` is served by
 * the edge. Nothing is hidden here: what must not be shown is `Redacted` by its type. REQ-SEC-02, REQ-OBS-01.
 */
import { Layer, Logger, type LogLevel, Redacted, References } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import type { Values } from "./Settings.ts"

export type TelemetrySettings = Pick<
  Values,
  "LOG_FORMAT" | "LOG_LEVEL" | "OTEL_EXPORTER_OTLP_ENDPOINT" | "OTEL_EXPORTER_OTLP_HEADERS" | "OTEL_SERVICE_NAME"
>

export interface TelemetryOptions {
  readonly version: string
  /** The node's name among the others: its address for them. */
  readonly instance: string
  /** Whether a person is watching. */
  readonly terminal: boolean
  /** In place of the setting. */
  readonly level?: LogLevel.LogLevel
}

export const layer = (settings: TelemetrySettings, options: TelemetryOptions): Layer.Layer<never> => {
  const { LOG_FORMAT, LOG_LEVEL, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = settings
  const pretty = LOG_FORMAT === "pretty" || (LOG_FORMAT === "auto" && options.terminal)
  const log = Layer.mergeAll(
    Logger.layer([pretty ? Logger.consolePretty() : Logger.consoleJson, Logger.tracerLogger]),
    Layer.succeed(References.MinimumLogLevel, options.level ?? levels[LOG_LEVEL])
  )
  // Spans nobody collects cost as much as the actors they are about.
  if (endpoint === undefined) return Layer.merge(log, Layer.succeed(References.TracerEnabled, false))
  const headers = headersOf(settings.OTEL_EXPORTER_OTLP_HEADERS)
  return Otlp.layerJson({
    baseUrl: endpoint,
    resource: {
      serviceName: settings.OTEL_SERVICE_NAME,
      serviceVersion: options.version,
      attributes: { "service.instance.id": options.instance }
    },
    headers,
    compression: "gzip",
    // A collector which does not answer must not keep a node from stopping.
    shutdownTimeout: "2 seconds"
  }).pipe(Layer.provide(FetchHttpClient.layer), Layer.provideMerge(log))
}

const levels: Readonly<Record<TelemetrySettings["LOG_LEVEL"], LogLevel.LogLevel>> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None"
}

const headersOf = (text: Redacted.Redacted<string> | undefined): Readonly<Record<string, string>> =>
  text === undefined
    ? {}
    : Object.fromEntries(
        Redacted.value(text)
          .split(",")
          .map((pair) => {
            const equals = pair.indexOf("=")
            return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()]
          })
      )
