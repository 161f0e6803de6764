/** Where a process of a crash test may die by SIGKILL: before and after each write of the journal, and what else it puts in between. */
import { Effect } from "effect"
import type { Store } from "../../src/runtime/Store.ts"

/** `dieAt` counts from 1; with 0 the process lives. Boundaries count from the start, or from `begin` on. */
export const boundariesOf = (dieAt: number, { counting }: { readonly counting: boolean }) => {
  let counted = counting
  let met = 0
  const boundary = Effect.sync(() => {
    if (!counted) return
    met++
    if (met === dieAt) process.kill(process.pid, "SIGKILL")
  })
  const between = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.andThen(boundary, Effect.ensuring(effect, boundary))
  return {
    begin: (): void => {
      counted = true
    },
    between,
    aroundStore: (store: Store["Service"]): Store["Service"] => ({
      ...store,
      transact: (keys, body) => between(store.transact(keys, body))
    }),
    /** Tells the test how many there were, and ends the process. */
    end: Effect.sync(() => {
      process.stdout.write(`boundaries=${met}\n`)
      process.exit(0)
    })
  }
}
