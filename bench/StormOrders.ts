/** What a scenario asks of the process that makes a storm, and what it hears back. */
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import type { Checkout } from "./LoadOrders.ts"
import * as Processes from "./Processes.ts"
import type { ProcessFailed } from "./Processes.ts"

/** Carts are filled, each call one of its own, unless there are checkouts to confirm. */
export interface Storm {
  readonly id: number
  readonly url: string
  readonly secret: string
  /** Of the crowd: its customers and connections are kept from one storm to the next. */
  readonly name: string
  readonly customers: number
  readonly connections: number
  readonly skus: number
  readonly seconds: number
  /** Calls a second, answered or not; absent, each connection asks again when it has its answer. */
  readonly rate?: number
  /** To be confirmed, one after another, each by its own customer. */
  readonly checkouts?: ReadonlyArray<Checkout>
  /** What all calls have in common, where they do: then each is something else under the same key. */
  readonly key?: string
  readonly cartId?: string
  readonly sku?: string
}

/** Milliseconds from a call to its answer, by what it was. */
export interface Weather {
  readonly seconds: number
  readonly answered: ReadonlyArray<number>
  readonly refused: ReadonlyArray<number>
  readonly retryAfterMs: ReadonlyArray<number>
  /** Of checkouts. */
  readonly confirmed: ReadonlyArray<string>
  /** Other refusals, by name. */
  readonly other: Readonly<Record<string, number>>
  readonly unanswered: number
}

export type Rage = (storm: Omit<Storm, "id">) => Effect.Effect<Weather, ProcessFailed>

let asked = 0

/** A process of its own that makes storms, several at once when asked. */
export const start = (directory: string, name: string): Effect.Effect<Rage, ProcessFailed, Scope.Scope> =>
  Effect.map(
    Processes.start({
      name,
      script: fileURLToPath(new URL("storm.ts", import.meta.url)),
      arguments: [],
      environment: {},
      directory
    }),
    (running): Rage =>
      (storm) =>
        Effect.callback<Weather, ProcessFailed>((resume) => {
          const id = ++asked
          const hear = (report: { readonly id: number; readonly weather?: Weather; readonly failure?: string }) => {
            if (report.id !== id) return
            running.child.off("message", hear)
            resume(
              report.weather === undefined
                ? running.fail(`could not do it: ${report.failure}`)
                : Effect.succeed(report.weather)
            )
          }
          running.child.on("message", hear)
          running.child.send({ ...storm, id } satisfies Storm)
        }).pipe(Effect.raceFirst(running.ended))
  )
