/** What runs that were killed have left in the temporary folder: databases, and the servers which still run on them. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Of folders whose names are `prefix` and the id of the process which made them: those whose maker is gone. */
export const remove = async (prefix: string): Promise<void> => {
  if (process.platform !== "linux") return
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN
    if (Number.isNaN(owner) || existsSync(`/proc/${owner}`)) continue
    const directory = join(tmpdir(), name)
    killServers(directory)
    await rm(directory, { recursive: true, force: true, maxRetries: 20 }).catch(() => undefined)
  }
}

/** Ends, without a goodbye, the servers of this folder and of those in it. */
export const killServers = (directory: string): void => {
  for (const place of [directory, ...foldersIn(directory)]) {
    try {
      const pid = Number.parseInt(readFileSync(join(place, "data", "postmaster.pid"), "utf8"), 10)
      // The file may be older than the process which has that id now.
      if (process.platform !== "linux" || readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(place)) {
        process.kill(pid, "SIGQUIT")
      }
    } catch {
      // There is none, or it is gone already.
    }
  }
}

const foldersIn = (directory: string): ReadonlyArray<string> => {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [join(directory, entry.name)] : []
    )
  } catch {
    return []
  }
}
