/** What must hold of a run, seen from outside: from what customers heard, and from what the tables say in the end. */
import { Duration, Schema } from "effect"
import type { AnyDefinition } from "../../src/runtime/Actor.ts"
import { toJson, type Row } from "../../src/runtime/Table.ts"
import { makeDefinition } from "../../src/runtime/WorkflowExecution.ts"
import { keysOf } from "./Errand.ts"
import type { Heard, Histories } from "./Clients.ts"
import type { Database } from "./Database.ts"
import { items, unitsOfItem, vault, wallet, type WalletEvent } from "./Wallet.ts"

interface Entry {
  readonly seq: number
  readonly key: string
  readonly cause: string
  readonly at: string
  readonly events: ReadonlyArray<unknown>
  readonly refusal: unknown
  /** The actor right after it. */
  readonly state: unknown
}

const workflow = makeDefinition(Duration.seconds(10))

const decoders = new Map(
  [wallet, vault, workflow].map((definition: AnyDefinition) => [
    definition,
    Schema.decodeUnknownSync(Schema.Array(Schema.toCodecJson(definition.event)))
  ])
)

/** An actor's history, folded; what is wrong with it goes into `violations`. */
const historyOf = (
  database: Database,
  definition: AnyDefinition,
  id: string,
  violations: Array<string>
): ReadonlyArray<Entry> => {
  const rows = database
    .rows("runtime.history")
    .filter((row) => row["actor_type"] === definition.type && row["actor_id"] === id)
    .sort((left, right) => Number(left["seq"]) - Number(right["seq"]))
  let state: unknown = definition.initial
  return rows.map((row, index): Entry => {
    if (row["seq"] !== index + 1)
      violations.push(`${definition.type}/${id} has a gap in its history before ${String(row["seq"])}`)
    const events = decoders.get(definition)!(row["events"])
    state = events.reduce(definition.evolve, state)
    return {
      seq: Number(row["seq"]),
      key: String(row["key"]),
      cause: String(row["cause"]),
      at: String(row["at"]),
      events,
      refusal: row["refusal"] ?? undefined,
      state
    }
  })
}

const idsOf = (database: Database, definition: AnyDefinition): ReadonlyArray<string> => [
  ...new Set([
    ...database.rows(definition.table.name).map(({ id }) => String(id)),
    ...database
      .rows("runtime.history")
      .flatMap((row) => (row["actor_type"] === definition.type ? [String(row["actor_id"])] : []))
  ])
]

/** Histories of all actors of a kind, each checked against its row. */
const historiesOf = (database: Database, definition: AnyDefinition, violations: Array<string>) =>
  new Map(
    idsOf(database, definition).map((id) => {
      const history = historyOf(database, definition, id, violations)
      const row = database.rows(definition.table.name).find((found) => found["id"] === id)
      const last = history.at(-1)
      const address = `${definition.type}/${id}`
      if (row === undefined || last === undefined)
        violations.push(`${address} has ${row === undefined ? "no row" : "no history"}`)
      else {
        if (row["version"] !== last.seq)
          violations.push(`${address} is at version ${String(row["version"])}, and its history at ${last.seq}`)
        const folded: Row = JSON.parse(toJson(definition.table.toRow(last.state, id)))
        for (const [name, value] of Object.entries(folded))
          if (toJson(row[name]) !== toJson(value))
            violations.push(`${address}: ${name} is ${toJson(row[name])}, and ${toJson(value)} by its history`)
      }
      const keys = new Set<string>()
      for (const { key } of history) {
        if (keys.has(key)) violations.push(`${address} has carried out ${key} twice`)
        keys.add(key)
      }
      return [id, history] as const
    })
  )

const balanceOf = (state: unknown): bigint => {
  const { balance } = state as { readonly balance?: bigint }
  return balance ?? 0n
}

const eventsOf = (history: ReadonlyArray<Entry>) =>
  history.flatMap(({ events, ...entry }) =>
    events.map((event) => ({ ...entry, event: event as typeof WalletEvent.Type }))
  )

export interface CheckOptions {
  /** Whether the clocks of nodes have stayed where they belong. */
  readonly clocksRight: boolean
}

/** What customers heard and what the tables say, as long as nothing is under way. */
export const check = (
  database: Database,
  { commands, seen }: Histories,
  { clocksRight }: CheckOptions
): ReadonlyArray<string> => {
  const violations: Array<string> = []
  const wallets = historiesOf(database, wallet, violations)
  const vaults = historiesOf(database, vault, violations)
  historiesOf(database, workflow, violations)

  for (const { heard: all, key, kind, wallet: id, what } of commands) {
    if (all.length === 0) violations.push(`${key} (${what}) was never answered`)
    // What does not exist remembers nothing, and may exist when it is asked again.
    const heard = all.filter((one) => one._tag !== "Refused" || !one.refusal.startsWith("NotOpen"))
    const [first] = heard
    if (first === undefined) continue
    if (
      new Set(heard.map((one) => (one._tag === "Done" && kind === "Save" ? one.answer.version : toJson(one)))).size > 1
    )
      violations.push(`${key} (${what}) got different answers: ${heard.map(toJson).join(", ")}`)
    if (kind === "Errand") {
      violations.push(...checkErrand(wallets, key, what, first))
      continue
    }
    const entry = wallets.get(id)?.find((one) => one.key === key)
    switch (first._tag) {
      case "Broken":
        violations.push(`${key} (${what}) broke: ${first.what}`)
        break
      case "Refused":
        if (entry?.refusal === undefined)
          violations.push(`${key} (${what}) was refused, and the history does not say so`)
        break
      case "Done":
        if (entry === undefined || entry.refusal !== undefined)
          violations.push(`${key} (${what}) was acknowledged, and is not in the history`)
        else if (
          entry.seq !== first.answer.version ||
          (kind !== "Save" && balanceOf(entry.state) !== first.answer.balance)
        )
          violations.push(
            `${key} (${what}) was told ${toJson(first.answer)}, and the history says ${toJson({ balance: balanceOf(entry.state), version: entry.seq })}`
          )
        if (kind === "Save" && vaults.get(id)?.some((one) => one.key === key) !== true)
          violations.push(`${key} (${what}) was acknowledged, and the vault knows nothing of it`)
        break
    }
  }

  for (const { answer, wallet: id } of seen) {
    const entry = wallets.get(id)?.[answer.version - 1]
    if (answer.version > 0 && (entry === undefined || balanceOf(entry.state) !== answer.balance))
      violations.push(`${id} never was as somebody saw it: ${toJson(answer)}`)
  }

  let expected = 0n
  let actual = 0n
  for (const history of vaults.values()) actual += balanceOf(history.at(-1)?.state)
  const takenOf = new Map<string, number>()
  const sentTo = new Map<string, Array<string>>()
  const receivedFrom = new Map<string, Array<string>>()
  for (const [id, history] of wallets) {
    actual += balanceOf(history.at(-1)?.state)
    let alarm: string | undefined
    for (const { at, event, key } of eventsOf(history)) {
      switch (event._tag) {
        case "Deposited":
          expected += event.amount
          break
        case "Withdrawn":
          // Into the vault, or out of the world.
          if (vaults.get(id)?.some((one) => one.key === key) !== true) expected -= event.amount
          break
        case "Transferred":
          push(sentTo, `${id}>${event.to}`, `${event.amount}`)
          break
        case "Received":
          if (event.number !== (receivedFrom.get(`${event.from}>${id}`)?.length ?? 0) + 1)
            violations.push(`${id} got fact ${event.number} of ${event.from} out of order`)
          push(receivedFrom, `${event.from}>${id}`, `${event.amount}`)
          break
        case "Taken":
          takenOf.set(event.item, (takenOf.get(event.item) ?? 0) + event.units)
          break
        case "AlarmSet":
          alarm = toJson(event.at)
          break
        case "Rung":
          if (alarm !== toJson(event.at))
            violations.push(`${id} rang for ${toJson(event.at)}, and its alarm was ${alarm}`)
          if (clocksRight && !event.urgent && at < toJson(event.at).slice(1, -1))
            violations.push(`${id} rang at ${at}, before ${toJson(event.at)}`)
          alarm = undefined
          break
      }
    }
    if (alarm !== undefined) violations.push(`the alarm of ${id} for ${alarm} never rang`)
  }
  if (expected !== actual) violations.push(`there are ${actual} in wallets and vaults instead of ${expected}`)
  for (const way of new Set([...sentTo.keys(), ...receivedFrom.keys()])) {
    const [sent, received] = [sentTo.get(way) ?? [], receivedFrom.get(way) ?? []]
    if (sent.join() !== received.join()) violations.push(`${way}: sent ${sent.join()}, and received ${received.join()}`)
  }

  for (const { id, name, status } of database.rows("runtime.workflows")) {
    if (status !== "completed" && status !== "failed")
      violations.push(`${String(name)} ${String(id)} is still ${String(status)}`)
  }
  for (const table of ["runtime.notices", "runtime.timers"]) {
    for (const row of database.rows(table)) violations.push(`left in ${table}: ${toJson(row)}`)
  }
  return violations
}

/** What an errand has done to wallets, by what its customer heard. */
const checkErrand = (
  wallets: ReadonlyMap<string, ReadonlyArray<Entry>>,
  errand: string,
  what: string,
  heard: Heard
): ReadonlyArray<string> => {
  const keys = keysOf(errand)
  const done = (key: string) =>
    [...wallets.values()].flat().filter((entry) => entry.key === key && entry.refusal === undefined).length
  const happened = `${done(keys.out)} out, ${done(keys.in)} in, ${done(keys.back)} back`
  const wanted =
    heard._tag === "Done"
      ? "1 out, 1 in, 0 back"
      : heard._tag === "Refused" && heard.refusal.startsWith("Returned")
        ? "1 out, 0 in, 1 back"
        : "0 out, 0 in, 0 back"
  if (heard._tag === "Broken") return [`${errand} (${what}) broke: ${heard.what}`]
  return happened === wanted ? [] : [`${errand} (${what}) ended as ${toJson(heard)}, and did: ${happened}`]
}

/** Counters and their ledger, which must agree with what wallets have taken at any time. */
export const checkCounters = (
  database: Database,
  counters: ReadonlyArray<{ readonly key: string; readonly values: Readonly<Record<string, number>> }>
): ReadonlyArray<string> =>
  items.flatMap((item) => {
    const sum = (table: string, column: string) =>
      database.rows(table).reduce((total, row) => (row["item"] === item ? total + Number(row[column]) : total), 0)
    const { free = 0, held = 0 } = counters.find(({ key }) => key === item)!.values
    const taken = sum("simulated.takings", "units")
    const ledger = sum("simulated.bins_ledger", "held")
    return free < 0 || held !== taken || ledger !== taken || free + held !== unitsOfItem
      ? [`${item}: ${free} free and ${held} held of ${unitsOfItem}; ${taken} taken, ${ledger} by the ledger`]
      : []
  })

const push = (into: Map<string, Array<string>>, name: string, value: string) => {
  const all = into.get(name) ?? []
  all.push(value)
  into.set(name, all)
}
