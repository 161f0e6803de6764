/**
 * The one database of a simulated cluster, at the other end of a network: the memory store, with the waits, locks and losses that Postgres
 * and a connection to it have. A node is told less than what happened: a write whose answer is lost may have been done, may not have been,
 * or may be done later.
 */
import { Context, Duration, Effect, Exit } from "effect"
import { Memory } from "../../src/runtime/MemoryStore.ts"
import { type Batch, Lost, Store, type StoreError } from "../../src/runtime/Store.ts"
import type { Counters, Row } from "../../src/runtime/Table.ts"
import type { Dice } from "./Dice.ts"
import type { Process, World } from "./World.ts"

/** How often something goes wrong with one request, while faults are on. */
export interface ConnectionFaults {
  /** It never arrives, and its sender is told so. */
  readonly refused: number
  /** It arrives, and its answer does not. */
  readonly answerLost: number
  /** It takes so long that its sender gives up, and is done all the same. */
  readonly late: number
}

export const noConnectionFaults: ConnectionFaults = { refused: 0, answerLost: 0, late: 0 }

/** What tests of the simulation switch off, to see that it is missed. */
export type Around = (store: Store["Service"], node: string) => Store["Service"]

const flushTimeout = Duration.seconds(5)
/** As Postgres is told: how long a node that says nothing may keep rows locked. */
const idleInTransaction = 4000

interface Transaction {
  readonly node: Process
  readonly keys: ReadonlyArray<string>
  state: "waiting" | "open" | "ended"
  /** The locks are there, or never will be. */
  onOpen: () => void
  cancelIdle: () => void
}

export class Database {
  readonly process: Process
  readonly memory: Memory["Service"]
  faults = noConnectionFaults
  private readonly store: Store["Service"]
  private readonly world: World
  private readonly dice: Dice
  private readonly transactions = new Set<Transaction>()
  private down = false
  /** Milliseconds which a way takes at the most, as a rule. */
  private readonly slowness: number

  constructor(world: World, context: Context.Context<Store | Memory>) {
    this.world = world
    this.process = world.start("database")
    this.dice = world.dice.fork("database")
    this.slowness = this.dice.pick([4, 8, 8, 50])
    this.store = Context.get(context, Store)
    this.memory = Context.get(context, Memory)
  }

  rows(table: string): ReadonlyArray<Row> {
    return this.memory.rows(table)
  }

  /** Nothing is answered for so long, and what was open is rolled back. */
  restart(millis: number): void {
    this.world.trace.add("database", `is away for ${millis} ms`)
    this.down = true
    for (const transaction of this.transactions) this.end(transaction)
    this.world.at(millis, () => {
      this.down = false
      this.world.trace.add("database", "is back")
    })
  }

  /** Its connections are gone: what it had open is rolled back, unless its commit is here already. */
  disconnect(node: Process): void {
    for (const transaction of this.transactions) if (transaction.node === node) this.end(transaction)
  }

  /** A node's own store. */
  open(node: Process): Store["Service"] {
    const ask = <A, E>(what: string, effect: Effect.Effect<A, E>) => this.request(node, what, effect)
    return Store.of({
      silentFor: this.store.silentFor,
      transact: (keys, body) => this.transact(node, keys, body),
      load: (actors) => ask("load", this.store.load(actors)),
      findKey: (definition, id, key) => ask("find key", this.store.findKey(definition, id, key)),
      history: (...page) => ask("history", this.store.history(...page)),
      timers: (options) => ask("timers", this.store.timers(options)),
      notices: (options) => ask("notices", this.store.notices(options)),
      noticeFailed: (notice, outcome) => ask("notice failed", this.store.noticeFailed(notice, outcome)),
      query: (sql, parameters) => ask("query", this.store.query(sql, parameters))
    })
  }

  private transact(
    node: Process,
    keys: ReadonlyArray<string>,
    body: (counters: ReadonlyArray<Counters>) => Batch
  ): Effect.Effect<void, StoreError> {
    if (keys.length === 0) {
      return Effect.suspend(() => this.flush(node, body([])))
    }
    const transaction: Transaction = { node, keys, state: "waiting", onOpen: () => {}, cancelIdle: () => {} }
    return this.request(node, `lock ${keys.join(" ")}`, this.lock(transaction)).pipe(
      // The connection goes with its answer, and with the connection what was locked.
      Effect.tapError(() => Effect.sync(() => this.world.at(this.dice.below(500), () => this.end(transaction)))),
      Effect.flatMap((counters) =>
        Effect.suspend(() => Effect.succeed(body(counters))).pipe(
          Effect.onError(() => Effect.sync(() => this.world.at(this.latency(), () => this.end(transaction))))
        )
      ),
      // When its sender gives it up, it may be on its way all the same.
      Effect.flatMap((batch) => this.flush(node, batch, transaction))
    )
  }

  private flush(node: Process, batch: Batch, transaction?: Transaction): Effect.Effect<void, StoreError> {
    const rows = batch.parts.flatMap(({ part, rows: of }) => (of.length === 0 ? [] : [`${of.length} ${part.name}`]))
    return this.request(node, `flush ${rows.join(", ")}`, this.commit(batch, transaction))
  }

  private lock(transaction: Transaction): Effect.Effect<ReadonlyArray<Counters>, Lost> {
    return Effect.callback<void>((resume) => {
      // Its connection is gone by the time it arrives.
      if (transaction.state === "ended") return resume(Effect.void)
      this.transactions.add(transaction)
      transaction.onOpen = () => this.process.post(() => resume(Effect.void))
      this.grant()
    }).pipe(
      Effect.andThen(this.memory.counters),
      Effect.flatMap((counters) =>
        transaction.state === "open"
          ? Effect.succeed(counters.filter(({ key }) => transaction.keys.includes(key)))
          : Effect.fail(new Lost({ detail: "rolled back" }))
      )
    )
  }

  /** First come, first served; all of its keys at once, so that no two wait for each other. */
  private grant(): void {
    const held = new Set<string>()
    for (const transaction of this.transactions) {
      if (transaction.state === "waiting" && !transaction.keys.some((key) => held.has(key))) {
        transaction.state = "open"
        transaction.cancelIdle = this.world.at(idleInTransaction, () => this.end(transaction))
        transaction.onOpen()
      }
      for (const key of transaction.keys) held.add(key)
    }
  }

  private end(transaction: Transaction): void {
    if (transaction.state === "ended") return
    const waited = transaction.state === "waiting"
    transaction.state = "ended"
    transaction.cancelIdle()
    this.transactions.delete(transaction)
    if (waited) transaction.onOpen()
    this.grant()
  }

  private commit(batch: Batch, transaction: Transaction | undefined): Effect.Effect<void, StoreError> {
    return Effect.suspend((): Effect.Effect<void, StoreError> => {
      if (transaction === undefined) return this.store.transact([], () => batch)
      if (transaction.state !== "open") return Effect.fail(new Lost({ detail: "rolled back" }))
      transaction.cancelIdle()
      return this.store.transact([], () => batch).pipe(Effect.ensuring(Effect.sync(() => this.end(transaction))))
    })
  }

  private latency(): number {
    return this.dice.chance(0.05) ? this.dice.between(20, 300) : this.dice.between(1, this.slowness)
  }

  /** One request of a node and its answer, as far as they arrive. */
  private request<A, E>(node: Process, what: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | Lost> {
    return Effect.callback<A, E | Lost>((resume) => {
      const answer = (exit: Effect.Effect<A, E | Lost>, delay: number) =>
        void this.world.at(delay, () => node.post(() => resume(exit)))
      const lost = (detail: string) => Effect.fail(new Lost({ detail }))
      const { answerLost, late, refused } = this.faults
      const tell = (how: string) => this.world.trace.add(node.name, `${what}: ${how}`)
      const drawn = this.dice.next()
      if (drawn < refused) {
        tell("is lost on its way")
        answer(lost("refused"), this.latency())
        return
      }
      const isLost = drawn < refused + answerLost
      const isLate = !isLost && drawn < refused + answerLost + late
      const delay = isLate ? this.dice.between(2000, 9000) : this.latency()
      if (isLate) tell(`takes ${delay} ms`)
      this.world.at(delay, () => {
        if (this.down) {
          answer(lost("away"), this.latency())
          return
        }
        this.process.run(effect, (exit) => {
          if (what.startsWith("flush") || Exit.isFailure(exit)) {
            tell(
              `${Exit.isSuccess(exit) ? "is done" : `fails, ${String(exit.cause.reasons.map((reason) => (reason._tag === "Fail" ? reason.error : reason._tag)))}`}${isLost ? ", and its answer is lost" : ""}`
            )
          }
          answer(isLost ? lost("no answer") : exit, isLost ? this.dice.between(1, 1500) : this.latency())
        })
      })
    }).pipe(
      Effect.timeoutOrElse({
        duration: flushTimeout,
        orElse: () => Effect.fail(new Lost({ detail: "no answer in time" }))
      })
    )
  }
}
