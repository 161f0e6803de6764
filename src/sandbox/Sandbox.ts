/**
 * A payment provider to develop and test against: it speaks the provider's wire protocol, keeps a ledger of what really happened, and can
 * be made to fail in every way that matters. It is reachable from this machine only, unless a host says otherwise, and takes test keys
 * only.
 */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import * as LedgerFile from "./LedgerFile.ts"
import { PaymentProvider } from "./PaymentProvider.ts"
import * as SandboxServer from "./SandboxServer.ts"
import type { WebhookOptions } from "./Webhooks.ts"
import * as Webhooks from "./Webhooks.ts"

export interface SandboxOptions {
  /** 0 takes a free one. */
  readonly port: number
  /** `127.0.0.1` unless given. */
  readonly host?: string
  /** Where the ledger outlives the process; in memory only without it. */
  readonly directory?: string
  readonly webhook?: WebhookOptions
}

/** A running sandbox. */
export class Sandbox extends Context.Service<
  Sandbox,
  {
    /** Where it answers, e.g. `http://127.0.0.1:4010`. */
    readonly url: string
    readonly host: string
    readonly port: number
    /** The provider behind the wire: its ledger, its faults, and what its customers do. */
    readonly provider: PaymentProvider["Service"]
    /** Absent where no webhooks are sent. */
    readonly webhooks: Webhooks.Webhooks | undefined
  }
>()("cartwright/sandbox/Sandbox") {
  /** Provides the provider behind the wire as well, for tests which look into its ledger. */
  static readonly layer = (
    options: SandboxOptions
  ): Layer.Layer<Sandbox | PaymentProvider, SandboxServer.SandboxNotStarted | LedgerFile.LedgerFileUnusable> =>
    Layer.effect(
      Sandbox,
      Effect.suspend(() => serve(options))
    ).pipe(Layer.provideMerge(PaymentProvider.layer))
}

/** Starts a sandbox which runs until the scope ends. */
export const start = (
  options: SandboxOptions
): Effect.Effect<Sandbox["Service"], SandboxServer.SandboxNotStarted | LedgerFile.LedgerFileUnusable, Scope.Scope> =>
  Layer.build(Sandbox.layer(options)).pipe(Effect.map((services) => Context.get(services, Sandbox)))

const serve = Effect.fnUntraced(function* (options: SandboxOptions) {
  const provider = yield* PaymentProvider
  if (options.directory !== undefined) yield* LedgerFile.open(provider, options.directory)
  let webhooks: Webhooks.Webhooks | undefined
  const address = yield* SandboxServer.serve(provider, {
    host: options.host ?? "127.0.0.1",
    port: options.port,
    webhooks: () => webhooks
  })
  if (options.webhook !== undefined) webhooks = yield* Webhooks.start(provider, options.webhook, address.url)
  return { ...address, provider, webhooks }
})
