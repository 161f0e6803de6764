/** Two toy actors and their counters, for the runtime's own tests: an account with money on it, and a watcher that is told of its moves. */
import { DateTime, Effect, Result, Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql/SqlClient"
import type { ActorDefinition } from "../../src/runtime/Actor.ts"
import type { ActorOptions } from "../../src/runtime/Actors.ts"
import type { MemoryStoreOptions } from "../../src/runtime/MemoryStore.ts"
import type { CounterTable, LogTable } from "../../src/runtime/Table.ts"

const key = Schema.String

export const AccountState = Schema.TaggedUnion({
  Absent: {},
  Open: {
    balance: Schema.BigInt,
    moves: Schema.Int,
    note: Schema.optional(Schema.String),
    /** No two accounts have the same. */
    number: Schema.optional(Schema.String),
    wakeAt: Schema.optional(Schema.DateTimeUtc)
  }
})
export type AccountState = typeof AccountState.Type
export type OpenAccount = Extract<AccountState, { _tag: "Open" }>

/** More than there is. */
export class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { balance: Schema.BigInt }) {}
export class NotOpen extends Schema.TaggedError<NotOpen>()("NotOpen", {}) {}
const Refusal = Schema.Union([Overdrawn, NotOpen])

const deposit = {
  amount: Schema.BigInt,
  note: Schema.optional(Schema.String),
  at: Schema.optional(Schema.DateTimeUtc),
  /** Whom to tell of it. */
  tell: Schema.optional(Schema.Array(Schema.String)),
  /** Units of counters to take, by key. */
  take: Schema.optional(Schema.Record(Schema.String, Schema.Int))
}
const wake = { wakeAt: Schema.optional(Schema.DateTimeUtc), urgent: Schema.optional(Schema.Boolean) }

export const Command = Schema.TaggedUnion({
  Deposit: deposit,
  Withdraw: { amount: Schema.BigInt },
  SetWake: wake,
  /** For deciders with a bug. */
  Explode: {},
  /** For tables which do not take what was decided. */
  Spoil: { how: Schema.Literals(["check", "row", "number"]) }
})
export type Command = typeof Command.Type

export const Event = Schema.TaggedUnion({
  Deposited: deposit,
  Withdrawn: { amount: Schema.BigInt },
  WakeSet: wake,
  Spoiled: { how: Schema.Literals(["check", "row", "number"]) }
})
export type Event = typeof Event.Type

const reply = { success: Schema.Struct({ balance: Schema.BigInt, version: Schema.Int }), error: Refusal }

export const Account = Entity.make("Account", [
  Rpc.make("Deposit", { payload: { key, ...deposit }, ...reply }),
  Rpc.make("Withdraw", { payload: { key, amount: Schema.BigInt }, ...reply }),
  Rpc.make("SetWake", { payload: { key, ...wake }, ...reply }),
  Rpc.make("Explode", { payload: { key }, ...reply }),
  Rpc.make("GetBalance", { success: Schema.BigInt, error: NotOpen })
])

export const bins: CounterTable = {
  name: "toy.bins",
  key: "item",
  part: "place",
  counters: ["held", "free"],
  lock: "select item as key, place as part, 0 as rank, held, free from toy.bins where item = any($1::text[]) order by item, place for update",
  ledger: "toy.bins_ledger"
}

export const moves: LogTable = { name: "toy.moves", columns: { account: "text", seq: "int", amount: "bigint" } }

const overdraw = (state: AccountState, amount: bigint) => state._tag === "Open" && state.balance < amount

export type AccountDefinition = ActorDefinition<AccountState, Command, Event, Overdrawn | NotOpen>

export const account: AccountDefinition = {
  type: Account.type,
  initial: { _tag: "Absent" },
  decide: (state, command, { counters }) => {
    switch (command._tag) {
      case "Deposit": {
        for (const [item, units] of Object.entries(command.take ?? {})) {
          if ((counters(item)[0]?.values["free"] ?? 0) < units) return Result.fail(new Overdrawn({ balance: 0n }))
        }
        return Result.succeed([{ ...command, _tag: "Deposited" }])
      }
      case "Withdraw":
        if (state._tag === "Absent") return Result.fail(new NotOpen())
        if (overdraw(state, command.amount)) return Result.fail(new Overdrawn({ balance: state.balance }))
        return Result.succeed([{ ...command, _tag: "Withdrawn" }])
      case "SetWake":
        return Result.succeed([{ ...command, _tag: "WakeSet" }])
      case "Explode":
        throw new Error("the decider has a bug")
      case "Spoil":
        return Result.succeed([{ ...command, _tag: "Spoiled" }])
    }
  },
  evolve: (state, event) => {
    const {
      balance,
      moves: made,
      ...rest
    } = state._tag === "Open" ? state : { _tag: "Open" as const, balance: 0n, moves: 0 }
    switch (event._tag) {
      case "Deposited":
        return {
          ...rest,
          balance: balance + event.amount,
          moves: made + 1,
          ...(event.note === undefined ? {} : { note: event.note })
        }
      case "Withdrawn":
        return { ...rest, balance: balance - event.amount, moves: made + 1 }
      case "WakeSet":
        return {
          _tag: "Open",
          balance,
          moves: made + 1,
          ...(event.wakeAt === undefined ? {} : { wakeAt: event.wakeAt }),
          ...(event.urgent === true ? { note: "urgent" } : {})
        }
      case "Spoiled":
        return {
          ...rest,
          balance: event.how === "check" ? -1n : balance,
          moves: event.how === "row" ? -1 : made + 1,
          ...(event.how === "number" ? { number: "one" } : {})
        }
    }
  },
  event: Event,
  refusal: Refusal,
  table: {
    name: "toy.accounts",
    columns: { balance: "bigint", moves: "int", note: "text", number: "text", wake_at: "timestamptz" },
    immutable: [],
    toRow: (state, id) => {
      if (state._tag === "Absent" || state.moves < 0) throw new Error(`account ${id} has no row`)
      return {
        balance: state.balance,
        moves: state.moves,
        note: state.note,
        number: state.number,
        wake_at: state.wakeAt === undefined ? undefined : DateTime.formatIso(state.wakeAt)
      }
    },
    fromRow: (row) => {
      if (row["note"] === "unreadable") throw new Error(`account ${String(row["id"])} is unreadable`)
      const { note, number, wake_at: wakeAt } = row
      return {
        _tag: "Open",
        balance: BigInt(Number(row["balance"])),
        moves: Number(row["moves"]),
        ...(typeof note === "string" ? { note } : {}),
        ...(typeof number === "string" ? { number } : {}),
        ...(typeof wakeAt === "string" ? { wakeAt: DateTime.toUtc(DateTime.makeUnsafe(wakeAt)) } : {})
      }
    }
  },
  timers: (state) =>
    state._tag === "Open" && state.wakeAt !== undefined
      ? { alarm: { dueAt: state.wakeAt, urgent: state.note === "urgent" } }
      : {},
  notices: (event, _state, id) =>
    event._tag === "Deposited"
      ? (event.tell ?? []).map((watcher) => ({
          receiver: { type: Watcher.type, id: watcher },
          message: { _tag: "Hear", from: id, amount: event.amount } as never
        }))
      : [],
  rows: (event, state, id) =>
    event._tag === "Deposited" && state._tag === "Open"
      ? [{ table: moves, row: { account: id, seq: state.moves, amount: event.amount } }]
      : [],
  counterChanges: (event, state, id) =>
    event._tag === "Deposited"
      ? Object.entries(event.take ?? {}).map(([item, units]) => ({
          key: item,
          part: "here",
          deltas: { held: units, free: -units },
          operation: "take",
          reference: event.note ?? `${id}/${state._tag === "Open" ? state.moves : 0}/${item}`
        }))
      : []
}

export const accountHosting: ActorOptions<AccountDefinition, typeof Account> = {
  definition: account,
  contract: Account,
  reply: (state, _id, version) => ({ balance: state._tag === "Open" ? state.balance : 0n, version }),
  questions: {
    GetBalance: (state) => (state._tag === "Open" ? Result.succeed(state.balance) : Result.fail(new NotOpen()))
  },
  wake: () => ({ _tag: "SetWake" }),
  counters: (command) => (command._tag === "Deposit" ? Object.keys(command.take ?? {}) : [])
}

// ---- a watcher: hears of deposits

const Heard = Schema.Struct({ from: Schema.String, amount: Schema.BigInt })
const WatcherState = Schema.TaggedUnion({ Absent: {}, Watching: { heard: Schema.Array(Heard) } })
export type WatcherState = typeof WatcherState.Type

/** It does not want to hear of so much. */
export class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", {}) {}

export const Watcher = Entity.make("Watcher", [
  Rpc.make("Hear", { payload: { key, from: Schema.String, amount: Schema.BigInt }, error: TooMuch })
])

const Hear = Schema.TaggedUnion({ Hear: { from: Schema.String, amount: Schema.BigInt } })
const HeardOf = Schema.TaggedUnion({ HeardOf: { from: Schema.String, amount: Schema.BigInt } })
const decodeHeard = Schema.decodeUnknownSync(Schema.Array(Schema.toCodecJson(Heard)))

export const watcher: ActorDefinition<WatcherState, typeof Hear.Type, typeof HeardOf.Type, TooMuch> = {
  type: Watcher.type,
  initial: { _tag: "Absent" },
  decide: (_state, { amount, from }) =>
    amount > 1_000_000n ? Result.fail(new TooMuch()) : Result.succeed([{ _tag: "HeardOf", from, amount }]),
  evolve: (state, { amount, from }) => ({
    _tag: "Watching",
    heard: [...(state._tag === "Watching" ? state.heard : []), { from, amount }]
  }),
  event: HeardOf,
  refusal: TooMuch,
  table: {
    name: "toy.watchers",
    columns: { heard: "jsonb" },
    immutable: [],
    toRow: (state) => ({ heard: state._tag === "Watching" ? state.heard : [] }),
    fromRow: (row) => ({ _tag: "Watching", heard: decodeHeard(row["heard"]) })
  }
}

export const watcherHosting: ActorOptions<typeof watcher, typeof Watcher> = {
  definition: watcher,
  contract: Watcher,
  reply: () => undefined,
  questions: {}
}

/** Each has ten free units. */
export const binNames = ["apple", "brick", "cable"]

/** What they need of a database, beside the runtime's own tables. */
export const createTables = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`create schema toy`
  yield* sql`
    create table toy.accounts (
      id text primary key,
      version int not null,
      balance bigint not null constraint balance_check check (balance >= 0),
      moves int not null,
      note text,
      number text constraint number_key unique,
      wake_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null
    )`
  yield* sql`
    create table toy.watchers (
      id text primary key, version int not null, heard jsonb not null, created_at timestamptz not null, updated_at timestamptz not null
    )`
  yield* sql`create table toy.moves (account text not null, seq int not null, amount bigint not null, primary key (account, seq))`
  yield* sql`create table toy.bins (
      item text not null, place text not null, held int not null constraint held_check check (held >= 0),
      free int not null constraint free_check check (free >= 0), version int not null default 1, primary key (item, place)
    )`
  yield* sql`
    create table toy.bins_ledger (
      op text not null, reference text not null, item text not null, place text not null, held int not null, free int not null,
      actor text not null, at timestamptz not null, constraint ledger_pkey primary key (op, reference)
    )`
  for (const item of binNames)
    yield* sql`insert into toy.bins (item, place, held, free) values (${item}, 'here', 0, 10)`
}).pipe(Effect.orDie)

/** The same constraints in memory. */
export const memoryOptions: MemoryStoreOptions = {
  counters: bins,
  stock: binNames.map((item) => ({ key: item, part: "here", rank: 0, values: { held: 0, free: 10 } })),
  constraints: {
    "toy.accounts": {
      checks: { balance_check: (row) => Number(row["balance"]) >= 0 },
      unique: { number_key: ["number"] }
    },
    "toy.moves": { unique: { moves_pkey: ["account", "seq"] } }
  }
}
