/** One conversation with the provider at a time for each checkout, whichever process holds it. REQ-CAP-10. */
import { Effect, Semaphore } from "effect"

export const make = () => {
  const held = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  return (id: string) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => {
        const entry = held.get(id) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        entry.users++
        held.set(id, entry)
        return entry.semaphore
          .withPermits(1)(effect)
          .pipe(
            Effect.ensuring(
              Effect.sync(() => {
                entry.users--
                if (entry.users === 0) held.delete(id)
              })
            )
          )
      })
}
