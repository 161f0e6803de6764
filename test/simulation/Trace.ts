/** What has happened in a run, in order: to be read when a seed fails, and to be compared, since the same seed gives the same trace. */
import { createHash } from "node:crypto"

export class Trace {
  readonly lines: Array<string> = []
  private readonly elapsed: () => number

  constructor(elapsed: () => number) {
    this.elapsed = elapsed
  }

  add(who: string, what: string): void {
    this.lines.push(`${(this.elapsed() / 1000).toFixed(3).padStart(8)} ${who.padEnd(10)} ${what}`)
  }

  /** The same for the same run. */
  get digest(): string {
    return createHash("sha256").update(this.lines.join("\n")).digest("hex").slice(0, 16)
  }
}
