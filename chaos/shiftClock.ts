/**
 * Loaded into a node before anything else (`node --import`), by nobody but chaos: its clock goes wrong when its parent process says so,
 * as that of a machine whose time is corrected. Timers of the process go on as they are, and so does the monotonic clock.
 */
import process from "node:process"

const Real = globalThis.Date
let offsetMs = 0

// Here it is the clock that is made, not asked. @effect-diagnostics globalDate:off
class Shifted extends Real {
  constructor(...parts: ReadonlyArray<unknown>) {
    // @ts-expect-error -- whatever a date can be made of is passed on
    super(...(parts.length === 0 ? [Real.now() + offsetMs] : parts))
  }
  static override now(): number {
    return Real.now() + offsetMs
  }
}

globalThis.Date = Shifted as DateConstructor

process.on("message", (message: unknown) => {
  if (typeof message === "object" && message !== null && "shiftClockMs" in message) {
    offsetMs = Number(message.shiftClockMs)
  }
})
// Listening must not keep a node alive that is done.
process.channel?.unref()
