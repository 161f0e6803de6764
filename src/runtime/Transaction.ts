/** What a step may do, and what the journal has to know of it before. */
import type { DateTime, Result } from "effect"
import type { AnyDefinition, Cell, CommandOf, RefusalOf, StateOf } from "./Actor.ts"
import type { Part, Row } from "./Table.ts"

/** The transitions of one unit. Whatever is done through it becomes durable together, or not at all. */
export interface Transaction {
  readonly now: DateTime.Utc
  /**
   * One command to one actor. A key met before gives what the actor is now, or its first refusal, and changes nothing. A refusal is
   * an answer: it is remembered like one, and the unit goes on.
   */
  readonly execute: <D extends AnyDefinition>(
    cell: Cell<D>,
    key: string,
    command: CommandOf<D>
  ) => Result.Result<StateOf<D>, RefusalOf<D>>
  /** Where the answer to a key stands in the actor's history: its first one, when it was met before. */
  readonly seqOf: (cell: Cell, key: string) => number | undefined
  /** The actor as the commands before in this unit have left it. */
  readonly state: <D extends AnyDefinition>(cell: Cell<D>) => StateOf<D>
  /** Adds a row beside the transitions; `part` says what happens when it is there already. */
  readonly write: (part: Part, row: Row) => void
  /** Ends the unit: nothing of it is written, and the caller gets `error`. */
  readonly abort: (error: unknown) => never
}

export interface UnitOptions<A> {
  readonly cells: ReadonlyArray<Cell>
  /** The counters to lock; asked again when the unit runs again. */
  readonly counters?: () => ReadonlyArray<string>
  /** Why this happens: a request, a timer, a notice. Stands in the history. */
  readonly cause: string
  /** Pure, and safe to run again. */
  readonly body: (transaction: Transaction) => A
}
