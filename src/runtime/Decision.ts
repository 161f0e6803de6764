/**
 * What the units of one flush come to: the rows to write, what their callers hear, and what their actors are once it is durable. No actor
 * is changed by it, so that it can be decided again on what has been read anew.
 */
import { DateTime, Exit, Function, Result } from "effect"
import { IdempotencyConflict } from "../domain/Refusals.ts"
import type { AnyDefinition, Cell, DecisionContext, Notice, Remembered, Tagged, Timer } from "./Actor.ts"
import { codecsOf } from "./Codecs.ts"
import { fingerprintOf } from "./Fingerprint.ts"
import type { Batch } from "./Store.ts"
import {
  appendRows,
  changeCounters,
  clearTimers,
  type CounterChange,
  counterLedger,
  type Counters,
  type CounterTable,
  history,
  insertState,
  type LogTable,
  notices as noticeTable,
  type Part,
  type Row,
  setTimers,
  type StateColumns,
  toJson,
  updateState
} from "./Table.ts"
import type { Transaction, UnitOptions } from "./Transaction.ts"

/** What is to be decided. */
export interface Undecided {
  readonly options: UnitOptions<unknown>
  /** Its notices are written as rows: carrying one out beside it was refused by the database. */
  readonly plain: boolean
}

/** A notice as its row. `readAt` is when its source was last read: later than that nobody else has written to it. */
export interface Raised {
  readonly row: Row
  readonly readAt: number
}

/** A notice on its way to an actor, as the command it stands for. */
export interface NoticeCommand {
  readonly key: string
  readonly command: Tagged
}

/** What the rest of the runtime wants to know of a flush. */
export interface Committed {
  readonly notices: ReadonlyArray<Raised>
  /** Notices carried out in this flush, which have no row. */
  readonly carriedOut: number
  readonly timers: ReadonlyArray<Row>
  readonly cleared: ReadonlyArray<Row>
}

/** What the flush makes of one actor before anything is durable. */
export interface Staged {
  readonly state: unknown
  readonly version: number
  readonly keys: Map<string, Remembered>
}

export interface Decision<U> {
  readonly write: Batch
  readonly staged: ReadonlyMap<Cell, Staged>
  readonly outcomes: ReadonlyArray<readonly [U, Exit.Exit<unknown, unknown>]>
  /** Those which have to run again once more is known. */
  readonly again: ReadonlyArray<readonly [U, Again]>
  readonly committed: Committed
}

/** What has been carried out beside the units, also where it then came to nothing. */
export interface Beside<U> {
  /** Receivers of notices, other than the units' own actors; pending from then on. */
  readonly receivers: Array<Cell>
  readonly units: Set<U>
}

export interface DecisionOptions {
  readonly counters: CounterTable
  /** How an actor in memory carries the notice out at once; nothing when it has to become a row. */
  readonly direct: (notice: Raised) => (NoticeCommand & { readonly cell: Cell }) | undefined
}

/** Notices which one unit may have carried out beside it. */
const directMax = 16

class Aborted {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/** Ends a unit for this flush: it has to run again once more is known. */
export class Again {
  readonly missing: { readonly cell: Cell; readonly key: string } | undefined
  /** What is wrong should it not help. */
  readonly reason: string
  constructor(reason: string, missing?: Again["missing"]) {
    this.reason = reason
    this.missing = missing
  }
}

const historyPart = appendRows(history)
const noticePart = appendRows(noticeTable)

const partsOf = Function.memoize((table: StateColumns) => ({ insert: insertState(table), update: updateState(table) }))
const logOf = Function.memoize((table: LogTable) => appendRows(table))

/** From one source to one receiver. */
const wayOf = ({ receiver_id, receiver_type, source_id, source_type }: Row) =>
  `${String(source_type)}/${String(source_id)}>${String(receiver_type)}/${String(receiver_id)}`

export const make = ({ counters: counterTable, direct }: DecisionOptions) => {
  const ledger = appendRows(counterLedger(counterTable))
  const changes = changeCounters(counterTable)
  const deltasOf = (deltas: Readonly<Record<string, number>>) =>
    Object.fromEntries(counterTable.counters.map((name) => [name, deltas[name] ?? 0]))

  /** Runs the bodies of a batch, in order. */
  return <U extends Undecided>(
    batch: ReadonlyArray<U>,
    locked: ReadonlyArray<Counters>,
    now: DateTime.Utc,
    beside: Beside<U>
  ): Decision<U> => {
    const at = DateTime.formatIso(now)
    const rows = new Map<Part, Array<Row>>()
    /** Rows that only the last of several in this flush may touch, by table and identity. */
    const single = new Map<string, readonly [Part, Row]>()
    const staged = new Map<Cell, Staged>()
    const outcomes: Array<readonly [U, Exit.Exit<unknown, unknown>]> = []
    const again: Array<readonly [U, Again]> = []
    const byKey = new Map<string, Array<Counters & { readonly values: Record<string, number> }>>()
    for (const counters of locked) {
      const rowsOfKey = byKey.get(counters.key) ?? []
      rowsOfKey.push({ ...counters, values: { ...counters.values } })
      byKey.set(counters.key, rowsOfKey)
    }
    const touched = new Map<string, { readonly change: CounterChange; readonly deltas: Record<string, number> }>()
    const noticeRows: Array<Raised> = []
    /** Ways on which a row goes: what comes behind it becomes a row. */
    const written = new Set<string>()
    let carriedOut = 0
    const put = (part: Part, row: Row) => {
      const into = rows.get(part) ?? []
      into.push(row)
      rows.set(part, into)
    }

    for (const unit of batch) {
      const mine = new Map<Cell, Staged>()
      const writes: Array<readonly [Part, Row]> = []
      const applied: Array<CounterChange> = []
      const raised: Array<Raised> = []
      const view = (cell: Cell): Staged => {
        const own = mine.get(cell)
        if (own !== undefined) return own
        const before = staged.get(cell)
        return {
          state: before?.state ?? cell.state,
          version: before?.version ?? cell.version,
          keys: new Map(before?.keys)
        }
      }
      const count = (change: CounterChange, sign: 1 | -1) => {
        const rowsOfKey = byKey.get(change.key)
        // The unit asked for its keys before another one of this flush had changed what it needs.
        if (rowsOfKey === undefined) throw new Again(`counters of ${change.key} are not locked`)
        const row = rowsOfKey.find(({ part }) => part === change.part)
        if (row === undefined) throw new Error(`there are no counters of ${change.key} at ${change.part}`)
        for (const [name, delta] of Object.entries(change.deltas)) row.values[name] = row.values[name]! + sign * delta
      }
      const execute = (
        cell: Cell,
        key: string,
        command: Tagged,
        cause = unit.options.cause
      ): Result.Result<unknown, unknown> => {
        const definition: AnyDefinition = cell.definition
        const current = view(cell)
        const fingerprint = fingerprintOf(command)
        const remembered = current.keys.get(key) ?? cell.keys.get(key)
        if (remembered !== undefined) {
          if (remembered.fingerprint !== fingerprint) throw new Aborted(new IdempotencyConflict({ key }))
          return remembered.refusal === undefined
            ? Result.succeed(current.state)
            : Result.fail(codecsOf(definition).decodeRefusal(remembered.refusal))
        }
        if (!cell.keysComplete && cell.newKeys?.has(key) !== true)
          throw new Again(`key ${key} is not looked up`, { cell, key })
        const context: DecisionContext = { id: cell.id, now, counters: (of) => byKey.get(of) ?? [] }
        const decision = definition.decide(current.state, command, context) as Result.Result<
          ReadonlyArray<Tagged>,
          Tagged
        >
        // What does not exist has no memory: otherwise every mistyped id would become a row.
        const events = Result.isSuccess(decision) ? decision.success : []
        if (current.version === 0 && events.length === 0) {
          return Result.isSuccess(decision) ? Result.succeed(current.state) : decision
        }
        const seq = current.version + 1
        let state = current.state
        let ordinal = 0
        events.forEach((event) => {
          const before = state
          for (const change of definition.counterChanges?.(event, before, cell.id) ?? []) {
            count(change, 1)
            applied.push(change)
          }
          state = definition.evolve(before, event)
          for (const { row, table } of definition.rows?.(event, state, cell.id) ?? []) writes.push([logOf(table), row])
          const notices: ReadonlyArray<Notice> = definition.notices?.(event, state, cell.id, before) ?? []
          for (const notice of notices) {
            raised.push({
              readAt: cell.readAt,
              row: {
                source_id: cell.id,
                source_type: definition.type,
                seq,
                ordinal: ordinal++,
                bucket: cell.bucket,
                receiver_type: notice.receiver.type,
                receiver_id: notice.receiver.id,
                message: notice.message,
                due_at: at
              }
            })
          }
        })
        const refusal = Result.isFailure(decision) ? codecsOf(definition).encodeRefusal(decision.failure) : undefined
        writes.push([
          historyPart,
          {
            actor_id: cell.id,
            actor_type: definition.type,
            seq,
            key,
            fingerprint,
            command: command._tag,
            events,
            refusal,
            cause,
            over: definition.over?.(state) === true ? true : undefined,
            at
          }
        ])
        const keys = current.keys
        keys.set(key, { fingerprint, seq, refusal })
        mine.set(cell, { state, version: seq, keys })
        return Result.isSuccess(decision) ? Result.succeed(state) : decision
      }
      const transaction: Transaction = {
        now,
        execute: ((cell: Cell, key: string, command: Tagged) => execute(cell, key, command)) as Transaction["execute"],
        seqOf: (cell, key) => (view(cell).keys.get(key) ?? cell.keys.get(key))?.seq,
        state: (cell) => view(cell).state as never,
        write: (part, row) => writes.push([part, row]),
        abort: (error) => {
          throw new Aborted(error)
        }
      }
      /** Whether the notice has been carried out; when it cannot be, nothing of it is left. */
      const carriedOutHere = (notice: Raised): boolean => {
        const command = direct(notice)
        if (command === undefined) return false
        const { cell } = command
        const before = { writes: writes.length, raised: raised.length }
        try {
          // A refusal is remembered: the row is then delivered in vain until it is parked.
          if (Result.isFailure(execute(cell, command.key, command.command, `command ${command.key}`))) return false
        } catch {
          writes.length = before.writes
          raised.length = before.raised
          return false
        }
        if (!unit.options.cells.includes(cell)) {
          cell.pending++
          beside.receivers.push(cell)
        }
        return true
      }
      const rowsOfNotices: Array<Raised> = []
      const ways = new Set<string>()
      let taken = 0
      try {
        const value = unit.options.body(transaction)
        // Those which a receiver raises in turn are appended.
        for (let index = 0; index < raised.length; index++) {
          const notice = raised[index]!
          const way = wayOf(notice.row)
          if (!unit.plain && taken < directMax && !ways.has(way) && !written.has(way) && carriedOutHere(notice)) {
            taken++
          } else {
            ways.add(way)
            rowsOfNotices.push(notice)
          }
        }
        outcomes.push([unit, Exit.succeed(value)])
      } catch (error) {
        for (const change of applied) count(change, -1)
        if (error instanceof Again) again.push([unit, error])
        else outcomes.push([unit, error instanceof Aborted ? Exit.fail(error.error) : Exit.die(error)])
        continue
      }
      for (const [cell, made] of mine) staged.set(cell, made)
      for (const [part, row] of writes) {
        if (part.identity === undefined) put(part, row)
        else single.set(`${part.table} ${toJson(part.identity.map((name) => row[name]))}`, [part, row])
      }
      for (const way of ways) written.add(way)
      carriedOut += taken
      if (taken > 0) beside.units.add(unit)
      for (const notice of rowsOfNotices) {
        noticeRows.push(notice)
        put(noticePart, notice.row)
      }
      for (const change of applied) {
        const place = `${change.key}\n${change.part}`
        const sum = touched.get(place) ?? { change, deltas: {} }
        for (const [name, delta] of Object.entries(change.deltas)) sum.deltas[name] = (sum.deltas[name] ?? 0) + delta
        touched.set(place, sum)
        put(ledger, {
          op: change.operation,
          reference: change.reference,
          [counterTable.key]: change.key,
          [counterTable.part]: change.part,
          ...deltasOf(change.deltas),
          actor: unit.options.cause,
          at
        })
      }
    }

    for (const { change, deltas } of touched.values()) {
      put(changes, { key: change.key, part: change.part, ...deltasOf(deltas) })
    }
    const timerRows: Array<Row> = []
    const clearedRows: Array<Row> = []
    const clear = (row: Row) => {
      clearedRows.push(row)
      put(clearTimers, row)
    }
    for (const [cell, { state, version }] of staged) {
      const definition: AnyDefinition = cell.definition
      const { insert, update } = partsOf(definition.table)
      const row = { ...definition.table.toRow(state, cell.id), id: cell.id, version, at }
      put(cell.version === 0 ? insert : update, cell.version === 0 ? row : { ...row, expected: cell.version })
      const before: Readonly<Record<string, Timer>> = definition.timers?.(cell.state) ?? {}
      const after: Readonly<Record<string, Timer>> = definition.timers?.(state) ?? {}
      const address = { actor_id: cell.id, actor_type: definition.type }
      for (const name of Object.keys(before)) if (after[name] === undefined) clear({ ...address, name })
      for (const [name, timer] of Object.entries(after)) {
        const same = before[name]
        const urgent = timer.urgent === true
        if (same !== undefined && DateTime.Equivalence(same.dueAt, timer.dueAt) && (same.urgent === true) === urgent)
          continue
        const set = { ...address, name, bucket: cell.bucket, due_at: DateTime.formatIso(timer.dueAt), urgent }
        timerRows.push(set)
        put(setTimers, set)
      }
    }
    for (const [part, row] of single.values()) {
      put(part, row)
      if (part === setTimers) timerRows.push(row)
      if (part === clearTimers) clearedRows.push(row)
    }
    const all = [...rows].map(([part, partRows]) => ({ part, rows: partRows }))
    const write: Batch = {
      guarded: all.reduce((sum, { part, rows: partRows }) => sum + (part.guarded ? partRows.length : 0), 0),
      parts: all.sort((left, right) => (left.part.name < right.part.name ? -1 : 1))
    }
    const committed: Committed = { notices: noticeRows, carriedOut, timers: timerRows, cleared: clearedRows }
    return { write, staged, outcomes, again, committed }
  }
}
