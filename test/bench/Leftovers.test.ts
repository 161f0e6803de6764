import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Leftovers from "../../bench/Leftovers.ts"

/** A process which runs for a minute, and names its folder as a server of Postgres does. */
const startIn = (place: string): ChildProcess =>
  spawn(process.execPath, ["-e", "setTimeout(() => {}, 60_000)", place], { stdio: "ignore" })

const makeFolder = async (name: string): Promise<{ readonly folder: string; readonly server: ChildProcess }> => {
  const folder = join(tmpdir(), name)
  const place = join(folder, "postgres-node")
  await mkdir(join(place, "data"), { recursive: true })
  const server = startIn(place)
  await writeFile(join(place, "data", "postmaster.pid"), `${server.pid}\n`)
  return { folder, server }
}

describe.runIf(process.platform === "linux")("given the folder of a run and that of another", () => {
  it("when the first was killed and the other goes on, then only the first goes, with its server", async () => {
    const prefix = `leftovers-of-${process.pid}-`
    const ended = startIn("nowhere")
    ended.kill("SIGKILL")
    await once(ended, "exit")
    const dead = await makeFolder(`${prefix}${ended.pid}`)
    const live = await makeFolder(`${prefix}${process.pid}`)
    try {
      const exit = once(dead.server, "exit")
      await Leftovers.remove(prefix)
      await exit
      assert.isFalse(existsSync(dead.folder))
      assert.isTrue(existsSync(live.folder))
      assert.isNull(live.server.signalCode)
    } finally {
      live.server.kill("SIGKILL")
      dead.server.kill("SIGKILL")
      await rm(live.folder, { recursive: true, force: true })
      await rm(dead.folder, { recursive: true, force: true })
    }
  })
})
