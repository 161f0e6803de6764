/**
 * The journal's store in memory, for tests: the same answers as Postgres gives, as one conformance suite makes sure, and faults on demand.
 * Several journals on one memory are several nodes on one database; a new one is a restart.
 */
import { Context, DateTime, Duration, Effect, Latch, Layer } from "effect"
import {
  type Batch,
  Conflict,
  type LoadedActor,
  Lost,
  type NoticeRow,
  Rejected,
  Store,
  type StoreError,
  type TimerRow
} from "./Store.ts"
import { historyRowOf, noticeRowOf, rememberedOf, timerRowOf } from "./StoredRows.ts"
import { counterLedger, type Counters, type CounterTable, instantOf, type Part, type Row, toJson } from "./Table.ts"

export interface MemoryStoreOptions {
  readonly counters: CounterTable
  /** The counters there are. */
  readonly stock?: ReadonlyArray<Counters>
  /** Constraints of tables which are not the runtime's own. `id` of an actor's table is unique anyway. */
  readonly constraints?: Readonly<Record<string, Constraints>>
  /** How many remembered keys are loaded with an actor. */
  readonly loadedKeys?: number
}

export interface Constraints {
  /** By name, the columns of which no two rows have the same values. */
  readonly unique?: Readonly<Record<string, ReadonlyArray<string>>>
  /** By name, what must be true of a row. */
  readonly checks?: Readonly<Record<string, (row: Row) => boolean>>
}

/** What befalls the next write: its error comes instead of being written, or instead of the answer after it was. */
export interface Fault {
  readonly when: "before" | "after"
  readonly error: StoreError
}

/** What tests see and steer. */
export class Memory extends Context.Service<
  Memory,
  {
    readonly rows: (table: string) => ReadonlyArray<Row>
    readonly counters: Effect.Effect<ReadonlyArray<Counters>>
    /** Writes so far, with and without success. */
    readonly flushes: Effect.Effect<number>
    /** For the next writes, one each. */
    readonly inject: (...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
    /** While `true` nothing is answered but `Lost`. */
    readonly setAway: (away: boolean) => Effect.Effect<void>
    /** Writes wait while it is closed. */
    readonly gate: Latch.Latch
  }
>()("cartwright/runtime/MemoryStore/Memory") {}

const runtimeConstraints: Readonly<Record<string, Constraints>> = {
  "runtime.history": { unique: { history_pkey: ["actor_id", "actor_type", "seq"] } },
  "runtime.timers": { unique: { timers_pkey: ["actor_id", "actor_type", "name"] } },
  "runtime.notices": { unique: { notices_pkey: ["source_id", "source_type", "seq", "ordinal"] } },
  "runtime.workflow_steps": { unique: { workflow_steps_pkey: ["execution_id", "name"] } }
}

const defaults: Readonly<Record<string, Row>> = {
  "runtime.notices": { attempts: 0, error: null, parked_at: null }
}

/** `Store` and `Memory` of one memory, which is the database: build it once and give it to every node. */
export const make = Effect.fnUntraced(function* (options: MemoryStoreOptions) {
  const loadedKeys = options.loadedKeys ?? 500
  const tables = new Map<string, Array<Row>>()
  const constraints: Readonly<Record<string, Constraints>> = {
    ...options.constraints,
    ...runtimeConstraints,
    [counterLedger(options.counters).name]: { unique: { ledger_pkey: ["op", "reference"] } }
  }
  const stock: Array<Counters> = [...(options.stock ?? [])].sort(
    (left, right) => compare(left.key, right.key) || compare(left.part, right.part)
  )
  const gate = yield* Latch.make(true)
  const faults: Array<Fault> = []
  let flushes = 0
  let away = false

  const rowsOf = (table: string): Array<Row> => {
    let rows = tables.get(table)
    if (rows === undefined) tables.set(table, (rows = []))
    return rows
  }
  const lost = new Lost({ detail: "away" })
  const reachable = <A>(answer: () => A): Effect.Effect<A, Lost> =>
    Effect.andThen(
      Effect.yieldNow,
      Effect.suspend(() => (away ? Effect.fail(lost) : Effect.succeed(answer())))
    )

  /** Checks a row which is about to stand in place of `old`. */
  const admit = (table: string, row: Row, old?: Row): void => {
    const { checks = {}, unique = {} } = constraints[table] ?? {}
    for (const [constraint, holds] of Object.entries(checks)) {
      if (!holds(row)) throw new Rejected({ constraint, detail: toJson(row) })
    }
    for (const [constraint, columns] of Object.entries(unique)) {
      if (rowsOf(table).some((other) => other !== old && same(other, row, columns))) {
        throw new Conflict(constraint === "history_pkey" ? {} : { constraint })
      }
    }
  }

  /** Does what the part says to one row; gives whether it was written. */
  const put = (part: Part, row: Row, undo: Array<() => void>): boolean => {
    const rows = rowsOf(part.table)
    const add = (added: Row) => {
      admit(part.table, added)
      rows.push(added)
      undo.push(() => void rows.splice(rows.indexOf(added), 1))
      return true
    }
    const replace = (old: Row, by: Row) => {
      admit(part.table, by, old)
      rows[rows.indexOf(old)] = by
      undo.push(() => void (rows[rows.indexOf(by)] = old))
      return true
    }
    const identity = part.identity ?? ["id"]
    const found = rows.find((other) => same(other, row, identity))
    switch (part.action) {
      case "insert": {
        const { at, ...state } = row
        return found === undefined && add({ ...state, created_at: at, updated_at: at })
      }
      case "update": {
        const { at, expected, ...state } = row
        return (
          found?.["version"] === expected &&
          found !== undefined &&
          replace(found, { ...found, ...state, updated_at: at })
        )
      }
      case "append":
        return add({ ...defaults[part.table], ...row })
      case "keep": {
        const { unique = {} } = constraints[part.table] ?? {}
        const there = Object.values(unique).some((columns) => rows.some((other) => same(other, row, columns)))
        return !there && add(row)
      }
      case "set":
        return found === undefined ? add(row) : replace(found, { ...found, ...row })
      case "patch":
        return found !== undefined && replace(found, { ...found, parked_at: null, ...row })
      case "remove": {
        if (found === undefined) return false
        const index = rows.indexOf(found)
        rows.splice(index, 1)
        undo.push(() => void rows.splice(index, 0, found))
        return true
      }
      case "change": {
        const index = stock.findIndex(({ key, part: place }) => key === row["key"] && place === row["part"])
        const old = stock[index]
        if (old === undefined) return false
        const values = Object.fromEntries(
          options.counters.counters.map((name) => [name, (old.values[name] ?? 0) + Number(row[name])])
        )
        const negative = options.counters.counters.find((name) => values[name]! < 0)
        if (negative !== undefined) throw new Rejected({ constraint: `${negative}_check`, detail: toJson(row) })
        stock[index] = { ...old, values }
        undo.push(() => void (stock[index] = old))
        return true
      }
    }
  }

  /** All of it, or an error and nothing. */
  const commit = ({ guarded, parts }: Batch): StoreError | undefined => {
    const undo: Array<() => void> = []
    let written = 0
    try {
      for (const { part, rows } of parts) {
        for (const row of rows) {
          const done = put(part, JSON.parse(toJson(row)), undo)
          if (part.guarded && done) written++
        }
      }
      if (written !== guarded) throw new Conflict({})
      return undefined
    } catch (error) {
      for (const back of undo.reverse()) back()
      if (isStoreError(error)) return error
      throw error
    }
  }

  const transact: Store["Service"]["transact"] = (keys, body) =>
    Effect.gen(function* () {
      yield* Effect.yieldNow
      yield* gate.await
      flushes++
      if (away) return yield* lost
      const fault = faults.shift()
      if (fault?.when === "before") return yield* fault.error
      const batch = body(stock.filter(({ key }) => keys.includes(key)))
      const error = commit(batch)
      if (error !== undefined) return yield* error
      if (fault?.when === "after") return yield* fault.error
    })

  const historyOf = (type: string, id: string) =>
    rowsOf("runtime.history")
      .filter((row) => row["actor_type"] === type && row["actor_id"] === id)
      .sort((left, right) => Number(left["seq"]) - Number(right["seq"]))

  const store = Store.of({
    silentFor: Effect.succeed(Duration.zero),
    transact,
    load: (actors) =>
      reachable(() =>
        actors.map(({ definition, id }): LoadedActor => {
          const row = rowsOf(definition.table.name).find((found) => found["id"] === id)
          const keys = historyOf(definition.type, id).slice(-loadedKeys).map(rememberedOf)
          return {
            row: row === undefined ? undefined : asPostgres(row, definition.table.columns),
            keys,
            keysComplete: keys.length < loadedKeys
          }
        })
      ),
    findKey: (definition, id, key) =>
      reachable(() => {
        const row = historyOf(definition.type, id).find((found) => found["key"] === key)
        return row === undefined ? undefined : rememberedOf(row)
      }),
    history: (type, id, afterSeq, limit) =>
      reachable(() =>
        historyOf(type, id)
          .filter(({ seq }) => Number(seq) > afterSeq)
          .slice(0, limit)
          .map((row) => historyRowOf({ ...row, refused: (row["refusal"] ?? null) !== null }))
      ),
    timers: ({ after, before, buckets, limit, urgent }) =>
      reachable(() =>
        rowsOf("runtime.timers")
          .filter((row) => buckets.includes(Number(row["bucket"])) && (!urgent || row["urgent"] === true))
          .map(timerRowOf)
          .filter(({ dueAt }) => DateTime.isLessThan(dueAt, before))
          .sort(byInstant)
          .filter((timer) => after === undefined || byInstant(timer, after) > 0)
          .slice(0, limit)
      ),
    notices: ({ after, buckets, limit, parked }) =>
      reachable(() => {
        const setAside = rowsOf("runtime.notices").filter(isParked).map(noticeRowOf)
        return rowsOf("runtime.notices")
          .filter((row) => isParked(row) === parked)
          .map(noticeRowOf)
          .sort(bySource)
          .filter((notice) => buckets.includes(notice.bucket) && (after === undefined || bySource(notice, after) > 0))
          .filter((notice) => !setAside.some((other) => sameWay(other, notice) && bySource(other, notice) < 0))
          .slice(0, limit)
      }),
    noticeFailed: (notice, { dueAt, error, parked }) =>
      reachable(() => {
        const rows = rowsOf("runtime.notices")
        const index = rows.map(noticeRowOf).findIndex((row) => bySource(row, notice) === 0)
        if (index < 0) return
        const due = DateTime.formatIso(dueAt)
        rows[index] = {
          ...rows[index],
          attempts: Number(rows[index]!["attempts"]) + 1,
          error,
          due_at: due,
          parked_at: parked ? due : null
        }
      }),
    query: (sql, parameters) => reachable(() => select(rowsOf, sql, parameters))
  })

  const memory = Memory.of({
    rows: (table) => rowsOf(table),
    counters: Effect.sync(() => [...stock]),
    flushes: Effect.sync(() => flushes),
    inject: (...next) => Effect.sync(() => void faults.push(...next)),
    setAway: (next) =>
      Effect.sync(() => {
        away = next
      }),
    gate
  })
  return Context.make(Store, store).pipe(Context.add(Memory, memory))
})

export const layer = (options: MemoryStoreOptions): Layer.Layer<Store | Memory> => Layer.effectContext(make(options))

const isStoreError = (error: unknown): error is StoreError =>
  error instanceof Conflict || error instanceof Rejected || error instanceof Lost

const compare = (left: string | number, right: string | number): number => (left < right ? -1 : left > right ? 1 : 0)

const same = (left: Row, right: Row, columns: ReadonlyArray<string>): boolean =>
  columns.every((name) => left[name] !== undefined && left[name] !== null && left[name] === right[name])

/** The JSON which `to_jsonb` makes of a row. */
const asPostgres = (row: Row, columns: Readonly<Record<string, string>>): Row => {
  const types: Readonly<Record<string, string>> = { ...columns, created_at: "timestamptz", updated_at: "timestamptz" }
  const names = [...new Set([...Object.keys(row), ...Object.keys(columns)])]
  return Object.fromEntries(
    names.map((name) => {
      const value = row[name] ?? null
      if (value === null) return [name, null]
      if (types[name] === "timestamptz") return [name, DateTime.formatIso(instantOf(value)).replace("Z", "+00:00")]
      if (types[name] === "bigint") return [name, Number(value)]
      return [name, value]
    })
  )
}

const byInstant = (left: TimerRow, right: TimerRow): number =>
  compare(left.dueAt.epochMilliseconds, right.dueAt.epochMilliseconds) ||
  compare(left.actorId, right.actorId) ||
  compare(left.actorType, right.actorType) ||
  compare(left.name, right.name)

const isParked = (row: Row): boolean => row["parked_at"] !== null

const bySource = (left: NoticeRow, right: NoticeRow): number =>
  compare(left.sourceId, right.sourceId) ||
  compare(left.sourceType, right.sourceType) ||
  compare(left.seq, right.seq) ||
  compare(left.ordinal, right.ordinal)

const sameWay = (left: NoticeRow, right: NoticeRow): boolean =>
  left.sourceId === right.sourceId &&
  left.sourceType === right.sourceType &&
  left.receiverId === right.receiverId &&
  left.receiverType === right.receiverType

/** The little SQL which the runtime reads its own records with: columns of one table, where columns equal parameters. */
const select = (
  rowsOf: (table: string) => ReadonlyArray<Row>,
  sql: string,
  parameters: ReadonlyArray<unknown>
): ReadonlyArray<Row> => {
  const [, columns, table, conditions] = /^select (.+) from (\S+) where (.+)$/.exec(sql) ?? []
  if (columns === undefined || table === undefined || conditions === undefined) throw new Error(`not in memory: ${sql}`)
  const wanted = conditions.split(" and ").map((condition) => {
    const [, name, parameter] = /^(\w+) = \$(\d+)$/.exec(condition) ?? []
    if (name === undefined) throw new Error(`not in memory: ${sql}`)
    return [name, parameters[Number(parameter) - 1]] as const
  })
  return rowsOf(table)
    .filter((row) => wanted.every(([name, value]) => row[name] === value))
    .map((row) => Object.fromEntries(columns.split(", ").map((name) => [name, row[name] ?? null])))
}
