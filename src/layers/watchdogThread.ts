/** The thread that watches the main one, which shares nothing with it but a counter. See `Watchdog.ts`. */
import { writeSync } from "node:fs"
import { workerData } from "node:worker_threads"
import type { ThreadOptions } from "./Watchdog.ts"

const { beats, blockedFor }: ThreadOptions = workerData
const lookEvery = 250

const sleeping = new Int32Array(new SharedArrayBuffer(4))
let seen = -1
/** Looks, and not the time: a process that was frozen as a whole has missed nothing. */
let inVain = 0
while (true) {
  Atomics.wait(sleeping, 0, 0, lookEvery)
  const now = Atomics.load(beats, 0)
  inVain = now === seen ? inVain + 1 : 0
  seen = now
  if (inVain * lookEvery < blockedFor) continue
  writeSync(
    2,
    `${JSON.stringify({ level: "FATAL", message: `The node has run no code for ${blockedFor / 1000} s: it is killed, to be started again` })}\n`
  )
  process.kill(process.pid, "SIGKILL")
}
