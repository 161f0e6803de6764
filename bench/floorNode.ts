/** A process which serves the floor: the same settings, server, token check, payment adapter and pool as a node, and the floor behind them. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import { ShippingQuotes } from "../src/catalog/ShippingQuotes.ts"
import { AccessDenied } from "../src/domain/Refusals.ts"
import * as StripeGateway from "../src/gateways/StripeGateway.ts"
import * as Config from "../src/layers/Config.ts"
import * as Sql from "../src/layers/Sql.ts"
import * as Telemetry from "../src/layers/Telemetry.ts"
import { AuthTokens, authenticationLayer } from "../src/rpc/AuthTokens.ts"
import { Draining } from "../src/rpc/Draining.ts"
import { Readiness } from "../src/rpc/Health.ts"
import { OperatorAccess } from "../src/rpc/operator/OperatorAccess.ts"
import * as Server from "../src/rpc/Server.ts"
import { WebhookReceiver } from "../src/rpc/webhooks/WebhookReceiver.ts"
import * as Floor from "./Floor.ts"

const program = Effect.gen(function* () {
  const values = yield* Config.load({ demo: false })
  yield* Sql.migrate(values)
  const floor = Floor.layer.pipe(
    Layer.provide([
      Sql.layer(values),
      ShippingQuotes.layerFlat(values.SHIPPING_RATES, values.SHIPPING_TIMEOUT),
      StripeGateway.layer({
        secretKey: values.STRIPE_SECRET_KEY,
        protocol: values.STRIPE_PROTOCOL,
        limits: Config.gatewayLimitsOf(values),
        connectionsMax: values.STRIPE_CONNECTIONS_MAX,
        ...(values.STRIPE_HOST === undefined ? {} : { host: values.STRIPE_HOST }),
        ...(values.STRIPE_PORT === undefined ? {} : { port: values.STRIPE_PORT })
      })
    ])
  )
  const identity = AuthTokens.layer({
    issuer: values.AUTH_ISSUER,
    audience: values.AUTH_AUDIENCE,
    keys:
      values.AUTH_SECRET === undefined
        ? { _tag: "Jwks", url: values.AUTH_JWKS_URL ?? "" }
        : { _tag: "Secret", secret: values.AUTH_SECRET }
  })
  const server = Server.layer({
    host: values.HTTP_HOST,
    port: values.HTTP_PORT,
    corsOrigins: [],
    dev: false,
    limits: Config.serverLimitsOf(values)
  }).pipe(
    Layer.provide([floor, authenticationLayer, Layer.succeed(OperatorAccess, () => Effect.fail(new AccessDenied()))]),
    Layer.provide([identity, Draining.layer, WebhookReceiver.layerNone]),
    Layer.provide(Layer.succeed(Readiness, { report: Effect.succeed({ ready: true, checks: {} }) })),
    Layer.provide(Telemetry.layer(values, { version: "floor", instance: "floor", terminal: false }))
  )
  return yield* Layer.launch(server)
})

NodeRuntime.runMain(program)
