/** What a simulation asks of the payment sandbox besides payments: its ledger, and the page on which customers prove who they are. */
import { Data, Effect, Schema } from "effect"

/** The sandbox does not answer, or not as one. */
export class SandboxSilent extends Data.TaggedError("SandboxSilent")<{
  readonly url: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `The payment sandbox at ${this.url} does not answer.`
  }
}

const Tally = Schema.Struct({ times: Schema.Int, amount: Schema.Int })

/** One payment as the provider knows it. Amounts are minor units. */
export const Charge = Schema.Struct({
  id: Schema.String,
  checkoutId: Schema.NullOr(Schema.String),
  status: Schema.String,
  currency: Schema.String,
  authorized: Tally,
  captured: Tally,
  voided: Tally,
  refunded: Tally
})
export type Charge = typeof Charge.Type

const Page = Schema.Struct({ entries: Schema.Array(Charge), more: Schema.Boolean })
const decodePage = Schema.decodeUnknownEffect(Page)

export interface SandboxControl {
  readonly url: string
  /** Every payment of the checkouts that `ours` names, oldest first. */
  readonly charges: (ours: (checkoutId: string) => boolean) => Effect.Effect<ReadonlyArray<Charge>, SandboxSilent>
  readonly prove: (clientSecret: string, passes: boolean) => Effect.Effect<boolean>
}

/** Finds out whether a sandbox answers at `url`. */
export const connect = Effect.fn("SandboxControl.connect")(function* (
  url: string
): Effect.fn.Return<SandboxControl, SandboxSilent> {
  const ask = (path: string, init?: RequestInit): Effect.Effect<Response, SandboxSilent> =>
    Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(`${url}${path}`, { ...init, signal, redirect: "manual" })
        if (response.status >= 400) throw new Error(`${path} is answered with ${response.status}`)
        return response
      },
      catch: (cause) => new SandboxSilent({ url, cause })
    }).pipe(
      Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => new SandboxSilent({ url, cause: "timeout" }) })
    )

  yield* Effect.flatMap(ask("/sandbox/health"), drain)
  return {
    url,
    charges: Effect.fn("SandboxControl.charges")(function* (ours) {
      const found: Array<Charge> = []
      let after: string | undefined
      while (true) {
        const response = yield* ask(`/sandbox/ledger?limit=1000${after === undefined ? "" : `&after=${after}`}`)
        const { entries, more } = yield* Effect.tryPromise((): Promise<unknown> => response.json()).pipe(
          Effect.flatMap(decodePage),
          Effect.mapError((cause) => new SandboxSilent({ url, cause }))
        )
        found.push(...entries.filter(({ checkoutId }) => checkoutId !== null && ours(checkoutId)))
        after = entries.at(-1)?.id
        if (!more || after === undefined) return found
      }
    }),
    prove: (clientSecret, passes) =>
      ask(`/sandbox/authenticate/${clientSecret.replace(/_secret_.*$/, "")}`, {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: `outcome=${passes ? "complete" : "fail"}`
      }).pipe(
        Effect.flatMap(drain),
        Effect.as(true),
        Effect.orElseSucceed(() => false)
      )
  }
})

/** An answer which nobody reads holds its connection. */
const drain = (response: Response): Effect.Effect<void> => Effect.promise(async () => await response.body?.cancel())
