/**
 * Several processes in one thread, with one clock which stands still until nobody has anything to do: which of all ready fibers goes on
 * next, and where one is interrupted for another, is decided by dice. Nothing here waits for real time, so that a minute takes milliseconds,
 * and the same seed gives the same run.
 */
import { createHash } from "node:crypto"
import { Clock, Context, Duration, Effect, type Exit, Logger, Random, References, Scheduler } from "effect"
import { WebCrypto } from "effect/crypto"
import type { Dice } from "./Dice.ts"
import { Trace } from "./Trace.ts"

interface Event {
  readonly at: number
  readonly order: number
  action: (() => void) | undefined
}

interface Task {
  readonly process: Process
  readonly run: () => void
}

/** Tasks without a step of the clock, before it counts as a loop that never ends. */
const idleTasksMax = 200_000

/** 2026-11-01T00:00:00Z. */
const startedAt = 1_793_491_200_000

/** What is thrown when a run cannot go on: a process which spins, or nothing left that could ever happen. */
export class Stuck extends Error {}

export class World {
  /** Milliseconds since the epoch, as nobody's clock shows them: each process has its own. */
  now = startedAt
  tasks = 0
  readonly trace: Trace
  readonly dice: Dice
  readonly processes: Array<Process> = []
  private readonly ready: Array<Task> = []
  private readonly events: Array<Event> = []
  private readonly schedule: Dice
  private orders = 0
  private outside = 0

  constructor(dice: Dice) {
    this.dice = dice
    this.schedule = dice.fork("schedule")
    this.trace = new Trace(() => this.now - startedAt)
  }

  /** Since the start. */
  get elapsed(): number {
    return this.now - startedAt
  }

  /** Does `action` in `delay` milliseconds, unless what it gives is called before. */
  at(delay: number, action: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, delay), order: this.orders++, action }
    push(this.events, event)
    return () => {
      event.action = undefined
    }
  }

  start(name: string): Process {
    const process = new Process(this, name, this.dice.fork(`${name} ${this.processes.length}`))
    this.processes.push(process)
    return process
  }

  enqueue(task: Task): void {
    this.ready.push(task)
  }

  /** Lets everything happen until so many milliseconds after the start. */
  async runUntil(elapsed: number): Promise<void> {
    const deadline = startedAt + elapsed
    let idle = 0
    while (true) {
      const task = this.next()
      if (task !== undefined) {
        if (++idle > idleTasksMax) throw new Stuck(`${task.process.name} goes round in circles`)
        this.tasks++
        task.run()
        // The one thing that takes a turn of the host: its digests. They have an end, and an order.
        while (this.outside > 0) await Promise.resolve()
        continue
      }
      const event = pop(this.events)
      if (event === undefined) throw new Stuck("nothing can happen any more")
      if (event.action === undefined) continue
      if (event.at > deadline) {
        push(this.events, event)
        this.now = deadline
        return
      }
      if (event.at > this.now) {
        this.now = event.at
        idle = 0
      }
      event.action()
    }
  }

  private next(): Task | undefined {
    const { ready } = this
    while (ready.length > 0) {
      const index = this.schedule.below(ready.length)
      const task = ready[index]!
      const last = ready.pop()!
      if (index < ready.length) ready[index] = last
      if (!task.process.alive) continue
      if (!task.process.frozen) return task
      task.process.park(task.run)
    }
    return undefined
  }

  /** SHA-256 as the host gives it: later, but in order. */
  readonly crypto = {
    subtle: {
      digest: (_name: string, data: Uint8Array) => {
        this.outside++
        return Promise.resolve().then(() => {
          // Whoever waits for it goes on some turns after this one.
          void afterTurns(20, () => this.outside--)
          return createHash("sha256").update(data).digest()
        })
      }
    }
  }
}

const afterTurns = async (turns: number, action: () => void) => {
  for (let turn = 0; turn < turns; turn++) await Promise.resolve()
  action()
}

/** A program on a machine: it can be stopped at any point, held for a while, and have a clock that is wrong. */
export class Process {
  alive = true
  frozen = false
  /** How far its clock is ahead. */
  clockAhead = 0
  /** What every fiber of it runs with. */
  readonly context: Context.Context<never>
  readonly name: string
  private parked: Array<() => void> = []
  private readonly world: World

  constructor(world: World, name: string, dice: Dice) {
    this.world = world
    this.name = name
    const schedule = dice.fork("slices")
    // Effect lets a fiber go on for 2048 operations; here any number may be the last one before another has its turn.
    const slice = () => (schedule.chance(0.3) ? schedule.between(1, 150) : 2048)
    let slices = slice()
    const random = dice.fork("random")
    const now = () => world.now + this.clockAhead
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: now,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanosUnsafe: () => BigInt(Math.round(now() * 1000)) * 1000n,
      currentTimeNanos: Effect.sync(() => BigInt(Math.round(now() * 1000)) * 1000n),
      monotonicTimeNanosUnsafe: () => BigInt(Math.round(world.now * 1000)) * 1000n,
      monotonicTimeNanos: Effect.sync(() => BigInt(Math.round(world.now * 1000)) * 1000n),
      sleep: (duration) => {
        const millis = Duration.toMillis(duration)
        if (millis <= 0) return Effect.yieldNow
        if (!Number.isFinite(millis)) return Effect.never
        return Effect.callback<void>((resume) => {
          const cancel = world.at(millis, () => this.post(() => resume(Effect.void)))
          return Effect.sync(cancel)
        })
      }
    }
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      const [first] = Array.isArray(message) ? message : [message]
      world.trace.add(this.name, `logs ${logLevel}: ${String(first)}`)
    })
    this.context = Context.empty().pipe(
      Context.add(Scheduler.Scheduler, {
        executionMode: "async",
        shouldYield: (fiber) => {
          if (fiber.currentOpCount < slices) return false
          slices = slice()
          return true
        },
        makeDispatcher: () => ({
          scheduleTask: (task) => this.post(task),
          flush: () => {}
        })
      }),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, {
        nextDoubleUnsafe: random.next,
        nextIntUnsafe: () => random.between(-0x8000_0000, 0x7fff_ffff)
      }),
      Context.add(References.CurrentLoggers, new Set([logger])),
      Context.add(References.MinimumLogLevel, "Info"),
      Context.add(WebCrypto.WebCrypto, world.crypto as never)
    )
  }

  /** Has it done as soon as it is this process' turn; never, when that is no more. */
  post(task: () => void): void {
    if (!this.alive) return
    if (this.frozen) this.parked.push(task)
    else this.world.enqueue({ process: this, run: task })
  }

  park(task: () => void): void {
    this.parked.push(task)
  }

  /** Runs an effect in it; `onExit` is not called when it dies before. */
  run<A, E>(effect: Effect.Effect<A, E>, onExit: (exit: Exit.Exit<A, E>) => void = () => {}): void {
    this.post(() => {
      Effect.runForkWith(this.context)(effect).addObserver(onExit)
    })
  }

  freeze(): void {
    this.frozen = true
  }

  thaw(): void {
    this.frozen = false
    const { parked } = this
    this.parked = []
    for (const task of parked) this.post(task)
  }

  /** Kill -9: none of its fibers ever goes on, and none of their finalizers runs. */
  kill(): void {
    this.alive = false
    this.parked = []
  }
}

// ---- a heap, the earliest on top

const before = (left: Event, right: Event) => left.at < right.at || (left.at === right.at && left.order < right.order)

const push = (heap: Array<Event>, event: Event): void => {
  let index = heap.length
  heap.push(event)
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (!before(event, heap[parent]!)) break
    heap[index] = heap[parent]!
    index = parent
  }
  heap[index] = event
}

const pop = (heap: Array<Event>): Event | undefined => {
  const top = heap[0]
  const last = heap.pop()
  if (top === undefined || last === undefined || heap.length === 0) return top
  let index = 0
  while (true) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[index] = heap[child]!
    index = child
  }
  heap[index] = last
  return top
}
