/** Whether an actor's past is whole and lawful, and leads to what its row says. */
import { Schema } from "effect"
import * as AlertActor from "../src/entities/alert/AlertActor.ts"
import * as CartActor from "../src/entities/cart/CartActor.ts"
import { checkoutTransitions } from "../src/entities/checkoutSession/CheckoutSession.ts"
import * as CheckoutSessionActor from "../src/entities/checkoutSession/CheckoutSessionActor.ts"
import { compensationTransitions } from "../src/entities/failedCompensation/FailedCompensation.ts"
import * as FailedCompensationActor from "../src/entities/failedCompensation/FailedCompensationActor.ts"
import { orderTransitions } from "../src/entities/order/Order.ts"
import * as OrderActor from "../src/entities/order/OrderActor.ts"
import { sagaTransitions } from "../src/entities/payment/Payment.ts"
import * as PaymentActor from "../src/entities/payment/PaymentActor.ts"
import * as ProviderEventActor from "../src/entities/providerEvent/ProviderEventActor.ts"
import * as ReservationActor from "../src/entities/reservation/ReservationActor.ts"
import * as SellerAccountActor from "../src/entities/sellerAccount/SellerAccountActor.ts"
import { defaultLimits } from "../src/layers/Shop.ts"
import type { AnyDefinition, Tagged } from "../src/runtime/Actor.ts"
import { type Row, toJson } from "../src/runtime/Table.ts"

export interface StoredTransition {
  readonly seq: number
  readonly command: string
  readonly events: ReadonlyArray<unknown>
  readonly refused: boolean
}

export interface ActorHistory {
  readonly type: string
  readonly id: string
  /** By number. */
  readonly transitions: ReadonlyArray<StoredTransition>
  /** As Postgres' `to_jsonb` gives it; absent for a kind of actor that is not known here. */
  readonly row: Row | undefined
}

type Table = Readonly<Record<string, ReadonlyArray<string>>>

interface KnownActor {
  readonly definition: AnyDefinition
  readonly law?: {
    readonly table: Table
    readonly statusOf: (state: Readonly<Record<string, unknown>>) => string | undefined
    /** Statuses which are passed through within one step, and stand in no row. */
    readonly passing: ReadonlyArray<string>
    /** Another attempt begins anew: the table is about one. */
    readonly attemptOf?: (state: Readonly<Record<string, unknown>>) => unknown
  }
}

/** Deciders are not asked again, so the limits do not matter: only what events mean, and what may follow what. */
export const knownActors: ReadonlyArray<KnownActor> = [
  { definition: AlertActor.make(defaultLimits.alert, []) },
  {
    definition: FailedCompensationActor.make(defaultLimits.compensation),
    law: {
      table: compensationTransitions,
      statusOf: ({ _tag }) => (_tag === "Absent" ? undefined : textOf(_tag)?.toLowerCase()),
      passing: []
    }
  },
  { definition: ProviderEventActor.make(defaultLimits.webhook) },
  { definition: SellerAccountActor.definition },
  { definition: CartActor.make(defaultLimits.cart) },
  {
    definition: CheckoutSessionActor.make(defaultLimits.session),
    law: {
      // An attempt which the checks refuse ends without having begun.
      table: { ...checkoutTransitions, validating: [...checkoutTransitions.validating, "rejected"] },
      statusOf: ({ status }) => textOf(status),
      passing: ["open", "validating"]
    }
  },
  { definition: ReservationActor.make(defaultLimits.reservation) },
  {
    definition: PaymentActor.make(defaultLimits.payment),
    law: {
      table: sagaTransitions,
      statusOf: ({ saga }) => textOf(saga),
      passing: [],
      attemptOf: ({ attempt }) => attempt
    }
  },
  {
    definition: OrderActor.make(defaultLimits.order),
    law: { table: orderTransitions, statusOf: ({ status }) => textOf(status), passing: [] }
  }
]

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const known = new Map(
  knownActors.map((actor) => [
    actor.definition.type,
    {
      ...actor,
      decode: Schema.decodeUnknownSync(Schema.Array(Schema.toCodecJson(actor.definition.event)))
    }
  ])
)

/** What is wrong with it; of an actor of any other kind only the numbers are looked at. */
export const problemsOf = ({ id, row, transitions, type }: ActorHistory): ReadonlyArray<string> => {
  const name = `${type} ${id}`
  const gaps = transitions.flatMap(({ seq }, index) =>
    seq === index + 1 ? [] : [`${name}: number ${seq} stands where ${index + 1} belongs`]
  )
  const actor = known.get(type)
  if (gaps.length > 0 || actor === undefined) return gaps.slice(0, 1)
  const { definition, decode, law } = actor
  const problems: Array<string> = []
  let state: unknown = definition.initial
  for (const { command, events, seq } of transitions) {
    for (const event of decode(events) as ReadonlyArray<Tagged>) {
      const before = fieldsOf(state)
      state = definition.evolve(state, event)
      if (law === undefined) continue
      const after = fieldsOf(state)
      const [from, to] = [law.statusOf(before), law.statusOf(after)]
      const sameAttempt = law.attemptOf === undefined || law.attemptOf(before) === law.attemptOf(after)
      if (from === undefined || to === undefined || from === to || !sameAttempt) continue
      if (!mayBecome(law.table, from, to, law.passing))
        problems.push(`${name}: ${command} (number ${seq}) made ${to} of ${from}, which is not allowed`)
    }
  }
  if (row === undefined) return [...problems, `${name}: has a history and no row`]
  if (Number(row["version"]) !== transitions.length) {
    problems.push(`${name}: its row is of version ${String(row["version"])}, its history of ${transitions.length}`)
  }
  const { table } = definition
  const [told, stored] = [table.toRow(state, id), table.toRow(table.fromRow(row), id)].map(canonical)
  if (told !== stored) problems.push(`${name}: its history leads to ${told}, its row says ${stored}`)
  return problems
}

const fieldsOf = (state: unknown): Readonly<Record<string, unknown>> => state as Readonly<Record<string, unknown>>

/** In one move, or by a way through statuses which no row is ever in. */
const mayBecome = (table: Table, from: string, to: string, passing: ReadonlyArray<string>): boolean => {
  const seen = new Set([from])
  const next = [from]
  while (next.length > 0) {
    for (const status of table[next.pop()!] ?? []) {
      if (status === to) return true
      if (!passing.includes(status) || seen.has(status)) continue
      seen.add(status)
      next.push(status)
    }
  }
  return false
}

/** The same text for the same content: `jsonb` keeps keys in an order of its own. */
const canonical = (row: Row): string => JSON.stringify(sorted(JSON.parse(toJson(row))))

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined && inner !== null)
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)])
  )
}
