/** A port of our own in front of somebody else's: what passes through it can be cut, held up or lost, as on a bad network. */
import { connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"
import type { Spoilt } from "./Plan.ts"

export interface Tunnel {
  readonly port: number
  /** Spoils every connection, those to come too, until `pass`. */
  readonly spoil: (how: Spoilt) => Effect.Effect<void>
  /** All is well from now on; what `silent` has held back arrives. */
  readonly pass: Effect.Effect<void>
  /**
   * The next `times` writes to a database lose their connection: either before Postgres hears of them, or after it has, and before the
   * answer. The sender cannot tell one from the other.
   */
  readonly cutWrites: (times: number, arrives: boolean) => Effect.Effect<void>
  /** Nobody listens any more, as where a process has ended, until `open`: who connects is refused by the machine itself. */
  readonly shut: Effect.Effect<void>
  readonly open: Effect.Effect<void>
}

export interface TunnelOptions {
  /** Of this machine. */
  readonly to: number
  /** How late everything is, in each direction, while nothing is spoilt: the distance of a service that is not next door. */
  readonly delayMs?: number
}

const slowByMs = 150
/** How long what follows a write on its connection may still arrive: its commit. */
const commitWithinMs = 40

export const open = ({ delayMs = 0, to }: TunnelOptions): Effect.Effect<Tunnel, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Running>((resume) => {
        const running = run(to, delayMs)
        running.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(running)))
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ controls, server }) => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      return {
        ...controls,
        port,
        shut: Effect.callback<void>((resume) => {
          controls.dropAll()
          if (!server.listening) return resume(Effect.void)
          server.close(() => resume(Effect.void))
        }),
        open: Effect.callback<void>((resume) => {
          if (server.listening) return resume(Effect.void)
          server.listen(port, "127.0.0.1", () => resume(Effect.void))
        })
      }
    }
  )

type Running = ReturnType<typeof run>

interface Link {
  readonly near: Socket
  readonly far: Socket
  /** Its write has arrived, and nobody will hear the answer. */
  doomed: boolean
}

const run = (to: number, delayMs: number) => {
  const links = new Set<Link>()
  let how: Spoilt | undefined
  let cutting = { left: 0, arrives: true }

  const drop = (link: Link): void => {
    links.delete(link)
    link.near.destroy()
    link.far.destroy()
  }

  const dropAll = (): void => {
    for (const link of links) drop(link)
  }

  const delay = () => (how === "slow" ? slowByMs : 0) + delayMs

  /** In order, however late. */
  const carry = (from: Socket, into: Socket, meets: (chunk: Buffer) => boolean): void => {
    const waiting: Array<{ readonly chunk: Buffer; readonly at: number }> = []
    const send = (chunk: Buffer): void => {
      if (into.destroyed || into.write(chunk)) return
      from.pause()
      into.once("drain", () => {
        if (how !== "silent") from.resume()
      })
    }
    const flush = (): void => {
      const now = performance.now()
      while (waiting.length > 0 && waiting[0]!.at <= now) send(waiting.shift()!.chunk)
      if (waiting.length > 0) setTimeout(flush, Math.max(1, waiting[0]!.at - now))
    }
    from.on("data", (chunk: Buffer) => {
      if (meets(chunk)) return
      const late = delay()
      if (late === 0 && waiting.length === 0) return send(chunk)
      waiting.push({ chunk, at: performance.now() + late })
      if (waiting.length === 1) setTimeout(flush, late)
    })
  }

  const server = createServer({ pauseOnConnect: true }, (near) => {
    near.on("error", () => undefined)
    if (how === "reset") return void near.destroy()
    const far = connect({ host: "127.0.0.1", port: to, noDelay: true })
    far.on("error", () => undefined)
    near.setNoDelay(true)
    const link: Link = { near, far, doomed: false }
    links.add(link)
    carry(near, far, (chunk) => {
      if (cutting.left === 0 || link.doomed || !isWrite(chunk)) return false
      cutting.left--
      if (!cutting.arrives) {
        drop(link)
        return true
      }
      link.doomed = true
      setTimeout(() => drop(link), commitWithinMs)
      return false
    })
    carry(far, near, () => link.doomed)
    for (const [end, other] of [
      [near, far],
      [far, near]
    ] as const) {
      end.on("end", () => other.end())
      // Who looks at a silent line does not see that the other end has gone.
      end.on("close", () => {
        if (how !== "silent") drop(link)
      })
    }
    if (how === "silent") far.pause()
    else near.resume()
  })

  return {
    server,
    close: (): void => {
      server.close()
      dropAll()
    },
    controls: {
      dropAll,
      spoil: (next: Spoilt) =>
        Effect.sync(() => {
          how = next
          for (const link of links) {
            if (next === "reset") drop(link)
            if (next === "silent") {
              link.near.pause()
              link.far.pause()
            }
          }
        }),
      pass: Effect.sync(() => {
        how = undefined
        cutting = { left: 0, arrives: true }
        for (const link of links) {
          if (link.near.destroyed || link.far.destroyed) drop(link)
          link.near.resume()
          link.far.resume()
        }
      }),
      cutWrites: (times: number, arrives: boolean) =>
        Effect.sync(() => {
          cutting = { left: times, arrives }
        })
    }
  }
}

/** Every write of the journal carries rows of its history, as JSON; a transaction of several statements ends in a `commit`. */
const isWrite = (chunk: Buffer): boolean => chunk.includes('"fingerprint"') || chunk.includes("commit\0")
