import { fork } from "node:child_process"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Tunnel from "../../chaos/Tunnel.ts"
import { eventually } from "../fixtures/Eventually.ts"

/** A server which says everything back, and remembers it. */
const echo = Effect.acquireRelease(
  Effect.promise(async () => {
    const heard: Array<string> = []
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("data", (chunk: Buffer) => {
        heard.push(chunk.toString())
        socket.write(chunk)
      })
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    return { heard, server, sockets, port: typeof address === "object" && address !== null ? address.port : 0 }
  }),
  ({ server, sockets }) =>
    Effect.sync(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
)

const client = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = connect({ host: "127.0.0.1", port })
      socket.on("error", () => undefined)
      const said = { text: "", closed: false }
      socket.on("data", (chunk: Buffer) => (said.text += chunk.toString()))
      socket.on("close", () => (said.closed = true))
      await once(socket, "connect")
      return { socket, said }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const until = (condition: () => boolean) => eventually(Effect.sync(condition), (is) => is)

const write = '{"key":"k","fingerprint":"f"}'

describe("a tunnel", () => {
  it.live("passes everything on, in order, however late", () =>
    Effect.gen(function* () {
      const { port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port, delayMs: 5 })
      const { said, socket } = yield* client(tunnel.port)
      for (let line = 0; line < 50; line++) socket.write(`${line}.`)
      const all = Array.from({ length: 50 }, (_, line) => `${line}.`).join("")
      yield* until(() => said.text === all)
    }).pipe(Effect.scoped)
  )

  it.live("breaks what there is and refuses what comes, until it passes again", () =>
    Effect.gen(function* () {
      const { port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port })
      const before = yield* client(tunnel.port)
      before.socket.write("a")
      yield* until(() => before.said.text === "a")
      yield* tunnel.spoil("reset")
      yield* until(() => before.said.closed)
      const meanwhile = yield* client(tunnel.port)
      yield* until(() => meanwhile.said.closed)
      yield* tunnel.pass
      const after = yield* client(tunnel.port)
      after.socket.write("b")
      yield* until(() => after.said.text === "b")
    }).pipe(Effect.scoped)
  )

  it.live("is not there while it is shut, and again at the same port", () =>
    Effect.gen(function* () {
      const { port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port })
      const before = yield* client(tunnel.port)
      yield* tunnel.shut
      yield* until(() => before.said.closed)
      const refused = yield* Effect.promise(
        () =>
          new Promise((resolve) => {
            connect({ host: "127.0.0.1", port: tunnel.port }).once("error", (error: NodeJS.ErrnoException) =>
              resolve(error.code)
            )
          })
      )
      assert.strictEqual(refused, "ECONNREFUSED")
      yield* tunnel.open
      const after = yield* client(tunnel.port)
      after.socket.write("b")
      yield* until(() => after.said.text === "b")
    }).pipe(Effect.scoped)
  )

  it.live("is silent to both sides, and brings what was on its way in the end", () =>
    Effect.gen(function* () {
      const { heard, port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port })
      const { said, socket } = yield* client(tunnel.port)
      socket.write("a")
      yield* until(() => said.text === "a")
      yield* tunnel.spoil("silent")
      socket.write("b")
      const other = yield* client(tunnel.port)
      other.socket.write("c")
      yield* Effect.sleep("100 millis")
      assert.deepStrictEqual(heard, ["a"])
      assert.isFalse(said.closed || other.said.closed)
      yield* tunnel.pass
      yield* until(() => said.text === "ab" && other.said.text === "c")
    }).pipe(Effect.scoped)
  )

  it.live("lets a write arrive and loses its answer, so that its sender cannot know", () =>
    Effect.gen(function* () {
      const { heard, port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port })
      yield* tunnel.cutWrites(1, true)
      const { said, socket } = yield* client(tunnel.port)
      socket.write("select 1")
      yield* until(() => said.text === "select 1")
      socket.write(write)
      yield* until(() => said.closed)
      assert.deepStrictEqual(heard, ["select 1", write])
      assert.strictEqual(said.text, "select 1")
      const next = yield* client(tunnel.port)
      next.socket.write(write)
      yield* until(() => next.said.text === write)
    }).pipe(Effect.scoped)
  )

  it.live("loses a write before it arrives", () =>
    Effect.gen(function* () {
      const { heard, port } = yield* echo
      const tunnel = yield* Tunnel.open({ to: port })
      yield* tunnel.cutWrites(1, false)
      const { said, socket } = yield* client(tunnel.port)
      socket.write(write)
      yield* until(() => said.closed)
      assert.deepStrictEqual(heard, [])
    }).pipe(Effect.scoped)
  )
})

describe("a clock that is shifted", () => {
  it.live("goes wrong when it is told to, and right again", () =>
    Effect.gen(function* () {
      const shiftClock = new URL("../../chaos/shiftClock.ts", import.meta.url).href
      const script = new URL("SaysTheTime.ts", import.meta.url).pathname
      const child = yield* Effect.acquireRelease(
        Effect.sync(() => fork(script, [], { execArgv: ["--import", shiftClock] })),
        (started) => Effect.sync(() => started.kill("SIGKILL"))
      )
      let offset = Number.NaN
      child.on("message", (told) => {
        offset = Number(told) - performance.timeOrigin - performance.now()
      })
      yield* until(() => Math.abs(offset) < 5000)
      child.send({ shiftClockMs: -60_000 })
      yield* until(() => Math.abs(offset + 60_000) < 5000)
      child.send({ shiftClockMs: 0 })
      yield* until(() => Math.abs(offset) < 5000)
    }).pipe(Effect.scoped)
  )
})
