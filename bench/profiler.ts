/** Loaded into a measured node with `--import`: SIGUSR2 starts its CPU profiler, and the next one stops it and writes a file. */
import { writeFileSync } from "node:fs"
import { Session } from "node:inspector"
import { join } from "node:path"
import { env } from "node:process"

const session = new Session()
session.connect()
session.post("Profiler.enable")
session.post("Profiler.setSamplingInterval", { interval: 500 })
let running = false
let written = 0

process.on("SIGUSR2", () => {
  if (!running) {
    session.post("Profiler.start")
  } else {
    session.post("Profiler.stop", (_, { profile }) => {
      writeFileSync(
        join(env["PROFILE_DIRECTORY"] ?? ".", `${env["PROFILE_NAME"] ?? "node"}-${++written}.cpuprofile`),
        JSON.stringify(profile)
      )
    })
  }
  running = !running
})
