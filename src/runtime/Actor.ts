/**
 * What an author of an actor writes, as data: a pure decider, a table, timers and notices which follow from the state and its events.
 * The runtime loads, finds the key, decides, commits, evolves and replies.
 */
import type { DateTime, Result, Schema } from "effect"
import type { CounterChange, Counters, LogTable, Row, StateTable } from "./Table.ts"

export interface Tagged {
  readonly _tag: string
}

/** What a decision may look at besides state and command. */
export interface DecisionContext {
  readonly id: string
  readonly now: DateTime.Utc
  /** The locked counters of a key, in rank order; empty for a key that was not asked for or does not exist. */
  readonly counters: (key: string) => ReadonlyArray<Counters>
}

/** When an actor wants to be woken. */
export interface Timer {
  readonly dueAt: DateTime.Utc
  /** Woken at once by a node which takes the actor over, due or not: the process was under way. */
  readonly urgent?: boolean
}

/** A fact for an actor of another process: delivered in order per (source, receiver), repeated until acknowledged. */
export interface Notice {
  readonly receiver: { readonly type: string; readonly id: string }
  /** A command of the receiver, without its key. */
  readonly message: Tagged
}

export interface ActorDefinition<State, Command extends Tagged, Event extends Tagged, Refusal extends Tagged> {
  /** Names the actor in history, timers and notices; never renamed. */
  readonly type: string
  readonly initial: State
  /** What happens next; no events when it has happened already. Pure: it may run again. */
  readonly decide: (
    state: State,
    command: Command,
    context: DecisionContext
  ) => Result.Result<ReadonlyArray<Event>, Refusal>
  /** Total: events are facts. */
  readonly evolve: (state: State, event: Event) => State
  readonly event: Schema.Codec<Event, unknown>
  readonly refusal: Schema.Codec<Refusal, unknown>
  readonly table: StateTable<State>
  /** The whole set of pending wake-ups of a state, by name. */
  readonly timers?: (state: State) => Readonly<Record<string, Timer>>
  /**
   * Nothing more happens to an actor in such a state, whatever it is told: no command leads to an event, no timer is set. Its history, and
   * with it its memory of keys, is forgotten once it is old enough; without this it is remembered for good.
   */
  readonly over?: (state: State) => boolean
  /** `state` is the one after the event, `before` the one it came to. */
  readonly notices?: (event: Event, state: State, id: string, before: State) => ReadonlyArray<Notice>
  /** Rows to add with an event; `state` is the one after it. */
  readonly rows?: (
    event: Event,
    state: State,
    id: string
  ) => ReadonlyArray<{ readonly table: LogTable; readonly row: Row }>
  /** What an event does to counters; `state` is the one before it. */
  readonly counterChanges?: (event: Event, state: State, id: string) => ReadonlyArray<CounterChange>
}

/** Any actor, where only its plumbing matters. */
// oxlint-disable-next-line typescript/no-explicit-any -- existential: states and events of different actors stand in one collection
export type AnyDefinition = ActorDefinition<any, any, any, any>

export type StateOf<D> =
  D extends ActorDefinition<infer State, never, never, never>
    ? State
    : D extends { readonly initial: infer S }
      ? S
      : never
export type CommandOf<D> = D extends { readonly decide: (state: never, command: infer C, context: never) => unknown }
  ? C
  : never
export type RefusalOf<D> = D extends { readonly refusal: Schema.Codec<infer R, unknown> } ? R : never

/** What became of a key: the fingerprint of its content, and the place in the history where its answer stands. */
export interface Remembered {
  readonly fingerprint: string
  readonly seq: number
  /** JSON of the refusal, when that was the answer. */
  readonly refusal: unknown
}

/** One actor in memory. State reaches it only after its commit; passivation is forgetting it. */
export class Cell<D extends AnyDefinition = AnyDefinition> {
  state: StateOf<D>
  version = 0
  /** Oldest first. */
  keys = new Map<string, Remembered>()
  /** Whether `keys` holds all keys there are; a long-lived actor's older ones are looked up when asked for. */
  keysComplete = true
  /** Keys which were looked up and are not there; only while not all are known. */
  newKeys: Set<string> | undefined
  loaded = false
  /** When it was last read, as a number which grows with every read of this node; 0 when it never was. */
  readAt = 0
  /** When that was, in milliseconds of the node's monotonic clock. */
  readMillis = 0
  /** Units which are queued or in a flush: not to be forgotten meanwhile. */
  pending = 0
  readonly definition: D
  readonly id: string
  readonly bucket: number
  readonly address: string
  constructor(definition: D, id: string, bucket: number) {
    this.definition = definition
    this.id = id
    this.bucket = bucket
    this.address = addressOf(definition, id)
    this.state = definition.initial
  }
}

export const addressOf = ({ type }: AnyDefinition, id: string): string => `${type}/${id}`
