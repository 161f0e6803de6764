/**
 * Who has which bucket, and the network between nodes: what Effect's cluster does for them, with everything that can go wrong in it. A node
 * goes by what it believes; when it was away, two may believe that they have the same bucket.
 */
import { Effect, Exit, type Fiber, Layer } from "effect"
import { Sharding } from "effect/cluster"
import type { Dice } from "./Dice.ts"
import type { Process, World } from "./World.ts"

/** How often something goes wrong with one message, while faults are on. */
export interface NetworkFaults {
  readonly lost: number
  readonly twice: number
  readonly slow: number
}

export const noNetworkFaults: NetworkFaults = { lost: 0, twice: 0, slow: 0 }

type Handler = (request: { readonly payload: unknown }) => Effect.Effect<unknown, unknown>

interface Member {
  readonly process: Process
  readonly buckets: Set<number>
  handlers: Readonly<Record<string, Handler>> | undefined
  /** Calls of others which it has not answered. */
  readonly asked: Set<() => void>
  readonly running: Map<Fiber.Fiber<unknown, unknown>, number>
}

export class Cluster {
  readonly buckets: number
  faults = noNetworkFaults
  private readonly world: World
  private readonly dice: Dice
  private readonly members = new Map<Process, Member>()
  private readonly owners: Array<Member | undefined>

  constructor(world: World, buckets: number) {
    this.world = world
    this.dice = world.dice.fork("cluster")
    this.buckets = buckets
    this.owners = Array.from({ length: buckets }, () => undefined)
  }

  /** The cluster as a node sees it; it has no buckets yet. */
  join(process: Process): Layer.Layer<Sharding.Sharding> {
    const member: Member = { process, buckets: new Set(), handlers: undefined, asked: new Set(), running: new Map() }
    this.members.set(process, member)
    return Layer.succeed(Sharding.Sharding, {
      getShardId: (entityId: string) => ({ group: "default", id: bucketOf(entityId) }),
      hasShardId: ({ id }: { readonly id: number }) => member.buckets.has(id),
      registerEntity: (_entity: unknown, handlers: Effect.Effect<Readonly<Record<string, Handler>>>) =>
        Effect.map(handlers, (made) => {
          member.handlers = made
        }),
      makeClient: () =>
        Effect.succeed((entityId: string) =>
          Object.fromEntries(
            ["Ask", "AwaitChange"].map((tag) => [
              tag,
              (payload: unknown) => this.call(process, bucketOf(entityId), tag, payload)
            ])
          )
        )
    } as never)
  }

  ownerOf(bucket: number): Process | undefined {
    return this.owners[bucket]?.process
  }

  /** Gives a bucket to a node, or to nobody. The one before believes that it has it for `overlap` ms more, the new one gets it after `gap`. */
  assign(bucket: number, to: Process | undefined, { gap = 0, overlap = 0 } = {}): void {
    const from = this.owners[bucket]
    const target = to === undefined ? undefined : this.members.get(to)
    if (from === target) return
    this.owners[bucket] = target
    this.world.trace.add("cluster", `bucket ${bucket}: ${from?.process.name ?? "-"} > ${target?.process.name ?? "-"}`)
    if (from !== undefined) {
      // It learns of it only when it runs; one that was frozen goes on with its old beliefs for a while.
      from.process.post(() => {
        this.world.at(overlap, () =>
          from.process.post(() => {
            if (this.owners[bucket] !== from) this.lose(from, bucket)
          })
        )
      })
    }
    if (target !== undefined) {
      this.world.at(gap, () => {
        target.process.post(() => {
          if (this.owners[bucket] === target) target.buckets.add(bucket)
        })
      })
    }
  }

  private lose(member: Member, bucket: number): void {
    member.buckets.delete(bucket)
    for (const [fiber, of] of member.running) if (of === bucket && this.dice.chance(0.5)) fiber.interruptUnsafe()
  }

  /** A node is gone for good, and those who wait for its answers see that, sooner or later. */
  leave(process: Process): void {
    const member = this.members.get(process)
    if (member === undefined) return
    this.members.delete(process)
    member.handlers = undefined
    for (const gone of member.asked) this.world.at(this.dice.between(1, 2000), gone)
  }

  private latency(): number {
    return this.dice.chance(this.faults.slow) ? this.dice.between(50, 4000) : this.dice.between(1, 5)
  }

  /** Whoever is not there, or does not have the bucket, is asked again somewhere else: so a call may be carried out twice. */
  private call(from: Process, bucket: number, tag: string, payload: unknown): Effect.Effect<unknown, unknown> {
    const again: Effect.Effect<unknown, unknown> = Effect.suspend(() =>
      Effect.flatMap(this.once(from, bucket, tag, payload), (exit) =>
        exit === undefined ? Effect.andThen(Effect.sleep(100), again) : exit
      )
    )
    return again
  }

  private once(
    from: Process,
    bucket: number,
    tag: string,
    payload: unknown
  ): Effect.Effect<Exit.Exit<unknown, unknown> | undefined> {
    return Effect.callback((resume) => {
      const target = this.owners[bucket]
      const answer = (exit: Exit.Exit<unknown, unknown> | undefined) =>
        void this.world.at(this.latency(), () => from.post(() => resume(Effect.succeed(exit))))
      if (target === undefined) {
        answer(undefined)
        return
      }
      const text = JSON.stringify(payload)
      const gone = () => answer(undefined)
      const arrive = () => {
        if (!target.process.alive) {
          gone()
          return
        }
        target.asked.add(gone)
        target.process.post(() => {
          const handler = target.handlers?.[tag]
          if (handler === undefined || !target.buckets.has(bucket)) {
            target.asked.delete(gone)
            gone()
            return
          }
          const fiber = Effect.runForkWith(target.process.context)(handler({ payload: JSON.parse(text) }))
          target.running.set(fiber, bucket)
          fiber.addObserver((exit) => {
            target.running.delete(fiber)
            target.asked.delete(gone)
            if (this.dice.chance(this.faults.lost)) return
            answer(
              Exit.isFailure(exit) && exit.cause.reasons.some(({ _tag }) => _tag === "Interrupt") ? undefined : exit
            )
          })
        })
      }
      if (this.dice.chance(this.faults.lost)) return
      this.world.at(this.latency(), arrive)
      if (this.dice.chance(this.faults.twice)) this.world.at(this.latency(), arrive)
    })
  }
}

const bucketOf = (entityId: string) => Number(entityId.replace("bucket-", ""))
