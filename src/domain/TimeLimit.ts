/**
 * Limits how long something may take, at the price of one fiber. A node puts a dozen limits around each checkout, and Effect's own are
 * races of two fibers, one of which is interrupted each time: a fifth of what a checkout costs a node.
 */
import { Clock, Context, Duration, Effect, Fiber } from "effect"

/** What the effect gives, or what `orElse` gives when it has not ended within `duration`: it is then interrupted, and waited for. */
export const withTimeLimit =
  <B, E2, R2>(duration: Duration.Duration, orElse: () => Effect.Effect<B, E2, R2>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A | B, E | E2, R | R2> =>
    Effect.clockWith((clock) => {
      const millis = Duration.toMillis(duration)
      // On a clock of a test, time does not pass by itself.
      if (clock !== machineClock || millis > longestTimer) return Effect.timeoutOrElse(self, { duration, orElse })
      return Effect.flatMap(
        Effect.forkChild(self, { startImmediately: true, uninterruptible: "inherit" }),
        (fiber) =>
          fiber.pollUnsafe() ??
          Effect.callback<A | B, E | E2, R2>((resume) => {
            const timer = setTimeout(() => {
              ignore()
              resume(Effect.andThen(Fiber.interrupt(fiber), Effect.suspend(orElse)))
            }, millis)
            const ignore = fiber.addObserver((exit) => {
              clearTimeout(timer)
              resume(exit)
            })
            return Effect.suspend(() => {
              clearTimeout(timer)
              ignore()
              return Fiber.interrupt(fiber)
            })
          })
      )
    })

const machineClock = Context.get(Context.empty(), Clock.Clock)

/** Above this, Node's timers fire at once. */
const longestTimer = 2 ** 31 - 1
