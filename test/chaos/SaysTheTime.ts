/** A process which tells its parent what time it believes it is, in both ways there are to ask. */
import { Clock, DateTime, Effect, Schedule } from "effect"

Effect.runFork(
  Effect.gen(function* () {
    const millis = yield* Clock.currentTimeMillis
    const { epochMilliseconds } = yield* DateTime.now
    process.send?.(Math.abs(millis - epochMilliseconds) < 1000 ? millis : Number.NaN)
  }).pipe(Effect.repeat(Schedule.spaced("20 millis")))
)
