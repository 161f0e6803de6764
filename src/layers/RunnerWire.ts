/**
 * How nodes talk to each other: TCP under TLS whose only credential is the secret they share. Who does not have it gets no further than
 * the handshake, neither as a caller nor as one who is called, and nothing can be read on the way. The runner protocol itself knows no
 * authentication.
 */
import { hkdfSync } from "node:crypto"
import { connect as connectTcp } from "node:net"
import { connect as connectTls, type SecureVersion, type TLSSocket } from "node:tls"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Cause, Effect, Layer, Redacted, type Scope } from "effect"
import * as Runners from "effect/cluster/Runners"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { isSocketError, Socket, SocketError, SocketOpenError } from "effect/socket/Socket"
import type { SocketServer, SocketServerError } from "effect/socket/SocketServer"
import { detailsOf } from "./ErrorDetails.ts"

/** What a node proves its membership with. */
export interface Membership {
  readonly cluster: string
  /** The first is used for calls, every one of them is accepted: so a secret can be changed one node after another. */
  readonly secrets: readonly [Redacted.Redacted<string>, ...ReadonlyArray<Redacted.Redacted<string>>]
}

/** Calls to other nodes. */
export const layerClient = (
  membership: Membership
): Layer.Layer<Runners.RpcClientProtocol, never, RpcSerialization.RpcSerialization> =>
  Layer.effect(
    Runners.RpcClientProtocol,
    Effect.gen(function* () {
      const serialization = yield* RpcSerialization.RpcSerialization
      return {
        codecFor: serialization.codecFor,
        make: Effect.fnUntraced(function* (address) {
          const socket = yield* NodeSocket.fromDuplex(connect(membership, address), { openTimeout: "1 second" })
          return yield* RpcClient.makeProtocolSocket().pipe(
            Effect.provideService(Socket, socket),
            Effect.provideService(RpcSerialization.RpcSerialization, serialization)
          )
        })
      }
    })
  )

/** Calls from other nodes. */
export const listen = (
  membership: Membership,
  at: { readonly host: string; readonly port: number }
): Effect.Effect<SocketServer["Service"], SocketServerError, Scope.Scope> => {
  const credentials = membership.secrets.map((secret) => credentialOf(membership.cluster, secret))
  const server = NodeSocketServer.makeTls({
    ...protocol,
    ...at,
    noDelay: true,
    keepAlive: true,
    handshakeTimeout: 5000,
    pskCallback: (_, asked) => credentials.find(({ identity }) => identity === asked)?.psk ?? null
  })
  // A node which was killed is for the health checks to tell, not an error of this one.
  const quietly = <A, E, R>(handled: Effect.Effect<A, E, R>) =>
    Effect.catchCauseIf(
      handled,
      (cause) => isSocketError(Cause.squash(cause)),
      (cause) => Effect.logDebug("The connection of another node broke", cause)
    )
  return Effect.map(server, ({ address, run }) => ({
    address,
    run: (handler) => run((socket) => quietly(handler(socket)))
  }))
}

/** Connects and proves membership; gives up with the scope. */
export const connect = (membership: Membership, address: RunnerAddress) =>
  Effect.acquireRelease(
    Effect.callback<TLSSocket, SocketError>((resume) => {
      const tcp = connectTcp({ host: address.host, port: address.port, noDelay: true, keepAlive: true })
      const fail = (cause: Error): void =>
        resume(Effect.fail(new SocketError({ reason: new SocketOpenError({ kind: "Unknown", cause }) })))
      const { identity, psk } = credentialOf(membership.cluster, membership.secrets[0])
      const socket = connectTls({
        ...protocol,
        socket: tcp,
        pskCallback: () => ({ identity, psk }),
        // There is no certificate to look at: the key they share is the proof, of both sides.
        checkServerIdentity: () => undefined
      })
      // Stays, so that an error after the last reader has gone does not end the process.
      socket.on("error", fail)
      tcp.on("error", fail)
      socket.once("close", () => fail(new Error("closed during the handshake")))
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      return Effect.sync(() => {
        tcp.destroy()
        socket.destroy()
      })
    }),
    (socket) => Effect.sync(() => socket.destroySoon()),
    { interruptible: true }
  )

/** Waits until a connection has ended, whoever ended it; nothing that comes over it is looked at. */
export const ended = (socket: TLSSocket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.destroyed) return resume(Effect.void)
    const end = () => resume(Effect.void)
    socket.once("close", end)
    socket.resume()
    return Effect.sync(() => socket.off("close", end))
  })

/** Whether the machine answers, and says that no process listens there. */
export const isRefused = (error: SocketError): boolean =>
  detailsOf("cause" in error.reason ? error.reason.cause : undefined).code === "ECONNREFUSED"

/** Whether a connection failed because the two do not share a secret, and not because nobody answers. */
export const isStranger = (error: SocketError): boolean => {
  const { code } = detailsOf("cause" in error.reason ? error.reason.cause : undefined)
  return code !== undefined && /^ERR_SSL_(TLSV1_ALERT_UNKNOWN_PSK_IDENTITY|SSL\/TLS_ALERT_BAD_RECORD_MAC)$/.test(code)
}

/** TLS 1.3 has the same, but tells a wrong key apart from other failures less clearly. Fresh keys for each connection, either way. */
const protocol = {
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305"
} as const satisfies {
  readonly minVersion: SecureVersion
  readonly maxVersion: SecureVersion
  readonly ciphers: string
}

/** The secret itself is never sent, nor anything which could be tried against a list of guesses. */
const credentialOf = (cluster: string, secret: Redacted.Redacted<string>) => {
  const derive = (purpose: string, length: number) =>
    Buffer.from(hkdfSync("sha256", Redacted.value(secret), cluster, `cartwright runner ${purpose} 1`, length))
  return { identity: derive("identity", 16).toString("hex"), psk: derive("key", 32) }
}
