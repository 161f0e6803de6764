/** The actors which a simulation of the runtime works with: each thing the runtime does for an actor has a command that needs it. */
import { DateTime, Effect, Layer, Result, Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import type { ActorDefinition } from "../../src/runtime/Actor.ts"
import { Actors, type ActorOptions } from "../../src/runtime/Actors.ts"
import { Journal } from "../../src/runtime/Journal.ts"
import type { MemoryStoreOptions } from "../../src/runtime/MemoryStore.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { CounterTable, LogTable } from "../../src/runtime/Table.ts"

const key = Schema.String
const amount = Schema.BigInt

// ---- a wallet: money, counters, an alarm, and facts for other wallets

const Alarm = Schema.Struct({ at: Schema.DateTimeUtc, urgent: Schema.Boolean })
const WalletState = Schema.TaggedUnion({
  Absent: {},
  Open: {
    balance: amount,
    alarm: Schema.optional(Alarm),
    /** How often it has taken something. */
    takes: Schema.Int,
    /** How many facts it has had for whom. */
    sent: Schema.Record(Schema.String, Schema.Int),
    /** The number of the last fact of each. */
    received: Schema.Record(Schema.String, Schema.Int)
  }
})
export type WalletState = typeof WalletState.Type

/** More than there is. */
export class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { balance: amount }) {}
/** Fewer units than were asked for. */
export class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { free: Schema.Int }) {}
/** There is no such wallet, and so nobody who would remember having been asked. */
export class NotOpen extends Schema.TaggedError<NotOpen>()("NotOpen", {}) {}
const Refusal = Schema.Union([NotOpen, Overdrawn, SoldOut])

const receive = { from: Schema.String, number: Schema.Int, amount }
const take = { item: Schema.String, units: Schema.Int }
const setAlarm = { afterMs: Schema.Int, urgent: Schema.Boolean }

const Command = Schema.TaggedUnion({
  Deposit: { amount },
  Withdraw: { amount },
  Transfer: { amount, to: Schema.String },
  Receive: receive,
  Take: take,
  SetAlarm: setAlarm,
  Ring: { at: Schema.DateTimeUtc }
})
type Command = typeof Command.Type

export const WalletEvent = Schema.TaggedUnion({
  Deposited: { amount },
  Withdrawn: { amount },
  Transferred: { amount, to: Schema.String },
  Received: receive,
  Taken: take,
  AlarmSet: Alarm.fields,
  Rung: { at: Schema.DateTimeUtc, urgent: Schema.Boolean }
})

export const Answer = Schema.Struct({ balance: amount, version: Schema.Int })
export type Answer = typeof Answer.Type
const answers = { success: Answer, error: Refusal }

export const Wallet = Entity.make("Wallet", [
  Rpc.make("Deposit", { payload: { key, amount }, ...answers }),
  Rpc.make("Withdraw", { payload: { key, amount }, ...answers }),
  Rpc.make("Transfer", { payload: { key, amount, to: Schema.String }, ...answers }),
  Rpc.make("Receive", { payload: { key, ...receive }, ...answers }),
  Rpc.make("Take", { payload: { key, ...take }, ...answers }),
  Rpc.make("SetAlarm", { payload: { key, ...setAlarm }, ...answers }),
  Rpc.make("Look", { success: Answer })
])

export const bins: CounterTable = {
  name: "simulated.bins",
  key: "item",
  part: "place",
  counters: ["held", "free"],
  lock: "",
  ledger: "simulated.bins_ledger"
}
export const items = ["apple", "brick", "cable"]
export const unitsOfItem = 12

const takings: LogTable = { name: "simulated.takings", columns: { wallet: "text", item: "text", units: "int" } }

type Open = Extract<WalletState, { _tag: "Open" }>
const empty: Open = { _tag: "Open", balance: 0n, takes: 0, sent: {}, received: {} }
const openOf = (state: WalletState): Open => (state._tag === "Open" ? state : empty)
const withoutAlarm = ({ alarm: _, ...rest }: Open): Open => rest
const decodeAlarm = Schema.decodeUnknownSync(Schema.toCodecJson(Alarm))
const encodeAlarm = Schema.encodeSync(Schema.toCodecJson(Alarm))

const needsOpen: ReadonlyArray<Command["_tag"]> = ["Withdraw", "Transfer", "Take"]

type WalletDefinition = ActorDefinition<WalletState, Command, typeof WalletEvent.Type, NotOpen | Overdrawn | SoldOut>

export const wallet: WalletDefinition = {
  type: Wallet.type,
  initial: { _tag: "Absent" },
  decide: (state, command, { counters, now }) => {
    const { alarm, balance } = openOf(state)
    if (state._tag === "Absent" && needsOpen.includes(command._tag)) return Result.fail(new NotOpen())
    switch (command._tag) {
      case "Deposit":
        return Result.succeed([{ _tag: "Deposited", amount: command.amount }])
      case "Withdraw":
        return balance < command.amount
          ? Result.fail(new Overdrawn({ balance }))
          : Result.succeed([{ _tag: "Withdrawn", amount: command.amount }])
      case "Transfer":
        return balance < command.amount
          ? Result.fail(new Overdrawn({ balance }))
          : Result.succeed([{ _tag: "Transferred", amount: command.amount, to: command.to }])
      case "Receive":
        return Result.succeed([{ ...command, _tag: "Received" }])
      case "Take": {
        const free = counters(command.item)[0]?.values["free"] ?? 0
        return free < command.units
          ? Result.fail(new SoldOut({ free }))
          : Result.succeed([{ ...command, _tag: "Taken" }])
      }
      case "SetAlarm":
        return Result.succeed([
          { _tag: "AlarmSet", at: DateTime.add(now, { milliseconds: command.afterMs }), urgent: command.urgent }
        ])
      case "Ring":
        // It may have been moved since.
        return alarm === undefined || !DateTime.Equivalence(alarm.at, command.at)
          ? Result.succeed([])
          : Result.succeed([{ _tag: "Rung", ...alarm }])
    }
  },
  evolve: (state, event) => {
    const open = openOf(state)
    switch (event._tag) {
      case "Deposited":
        return { ...open, balance: open.balance + event.amount }
      case "Withdrawn":
        return { ...open, balance: open.balance - event.amount }
      case "Transferred":
        return {
          ...open,
          balance: open.balance - event.amount,
          sent: { ...open.sent, [event.to]: (open.sent[event.to] ?? 0) + 1 }
        }
      case "Received":
        return {
          ...open,
          balance: open.balance + event.amount,
          received: { ...open.received, [event.from]: event.number }
        }
      case "Taken":
        return { ...open, takes: open.takes + 1 }
      case "AlarmSet":
        return { ...open, alarm: { at: event.at, urgent: event.urgent } }
      case "Rung":
        return withoutAlarm(open)
    }
  },
  event: WalletEvent,
  refusal: Refusal,
  table: {
    name: "simulated.wallets",
    columns: { balance: "bigint", alarm: "jsonb", takes: "int", sent: "jsonb", received: "jsonb" },
    immutable: [],
    toRow: (state) => {
      const { alarm, balance, received, sent, takes } = openOf(state)
      return { balance, takes, sent, received, alarm: alarm === undefined ? undefined : encodeAlarm(alarm) }
    },
    fromRow: ({ alarm, balance, received, sent, takes }) => ({
      _tag: "Open",
      balance: BigInt(Number(balance)),
      takes: Number(takes),
      sent: sent as Open["sent"],
      received: received as Open["received"],
      ...(alarm === null ? {} : { alarm: decodeAlarm(alarm) })
    })
  },
  timers: (state) =>
    state._tag === "Open" && state.alarm !== undefined
      ? { alarm: { dueAt: state.alarm.at, urgent: state.alarm.urgent } }
      : {},
  notices: (event, state, id) =>
    event._tag === "Transferred"
      ? [
          {
            receiver: { type: Wallet.type, id: event.to },
            message: {
              _tag: "Receive",
              from: id,
              number: openOf(state).sent[event.to],
              // As it travels.
              amount: String(event.amount)
            } as never
          }
        ]
      : [],
  rows: (event, _state, id) =>
    event._tag === "Taken" ? [{ table: takings, row: { wallet: id, item: event.item, units: event.units } }] : [],
  counterChanges: (event, state, id) =>
    event._tag === "Taken"
      ? [
          {
            key: event.item,
            part: "here",
            deltas: { held: event.units, free: -event.units },
            operation: "take",
            reference: `${id}/${openOf(state).takes}`
          }
        ]
      : []
}

const hosting: ActorOptions<WalletDefinition, typeof Wallet> = {
  definition: wallet,
  contract: Wallet,
  reply: (state, _id, version) => ({ balance: openOf(state).balance, version }),
  questions: { Look: (state, _payload, _id, version) => Result.succeed({ balance: openOf(state).balance, version }) },
  wake: (_name, state) => {
    const { alarm } = openOf(state)
    return alarm === undefined ? undefined : { _tag: "Ring", at: alarm.at }
  },
  counters: (command) => (command._tag === "Take" ? [command.item] : [])
}

// ---- a vault: lives with the wallet of its id, and gets what is saved there in one unit with it

const VaultState = Schema.TaggedUnion({ Absent: {}, Open: { balance: amount } })
type VaultState = typeof VaultState.Type
const Put = Schema.TaggedUnion({ Put: { amount } })
const WasPut = Schema.TaggedUnion({ WasPut: { amount } })

export const vault: ActorDefinition<VaultState, typeof Put.Type, typeof WasPut.Type, never> = {
  type: "Vault",
  initial: { _tag: "Absent" },
  decide: (_state, command) => Result.succeed([{ _tag: "WasPut", amount: command.amount }]),
  evolve: (state, event) => ({
    _tag: "Open",
    balance: (state._tag === "Open" ? state.balance : 0n) + event.amount
  }),
  event: WasPut,
  refusal: Schema.Never,
  table: {
    name: "simulated.vaults",
    columns: { balance: "bigint" },
    immutable: [],
    toRow: (state) => ({ balance: state._tag === "Open" ? state.balance : 0n }),
    fromRow: ({ balance }) => ({ _tag: "Open", balance: BigInt(Number(balance)) })
  }
}

/** Moves money from a wallet into its vault: two actors, one unit. */
export const Saving = Entity.make("Saving", [Rpc.make("Save", { payload: { key, amount }, ...answers })])

const saving = Effect.gen(function* () {
  const actors = yield* Actors
  const journal = yield* Journal
  const placement = yield* Placement
  placement.serve(Saving, {
    Save: Effect.fnUntraced(function* (id: string, payload: { readonly key: string; readonly amount: bigint }) {
      const [from, into] = yield* actors.cells([wallet, vault], id)
      const result = yield* journal.unit({
        cells: [from, into],
        cause: `save ${payload.key}`,
        body: (transaction) => {
          const taken = transaction.execute(from, payload.key, { _tag: "Withdraw", amount: payload.amount })
          if (Result.isFailure(taken)) return Result.fail(taken.failure)
          transaction.execute(into, payload.key, { _tag: "Put", amount: payload.amount })
          // What the wallet is now: a repeated key need not give the first state, and says so by its version.
          return Result.succeed({
            balance: openOf(transaction.state(from)).balance,
            version: transaction.seqOf(from, payload.key) ?? 0
          })
        }
      })
      return yield* Effect.fromResult(result)
    })
  })
})

export const wallets: Layer.Layer<never, never, Actors | Journal | Placement> = Layer.effectDiscard(
  Effect.gen(function* () {
    const actors = yield* Actors
    actors.host(hosting)
    yield* saving
  })
)

export const memoryOptions: MemoryStoreOptions = {
  counters: bins,
  stock: items.map((item) => ({ key: item, part: "here", rank: 0, values: { held: 0, free: unitsOfItem } })),
  // Few, so that old keys have to be looked up.
  loadedKeys: 6,
  constraints: {
    "simulated.wallets": { checks: { wallet_balance_check: (row) => Number(row["balance"]) >= 0 } },
    "simulated.vaults": { checks: { vault_balance_check: (row) => Number(row["balance"]) >= 0 } }
  }
}
