/** Who comes to the shop: each buyer's cart, card and habits, drawn from a seed, so that a run can be repeated. */
import { Effect, Random } from "effect"
import type { Address } from "../domain/Address.ts"

/** What can be bought, and how eagerly it is. */
export interface Shelf {
  readonly sku: string
  /** Relative to the others; zero or more. */
  readonly weight: number
}

/**
 * What a buyer does once the cart is full.
 *
 * - `Pays`: confirms and is done.
 * - `ClicksTwice`: confirms the same checkout from two windows at once; both must hear the same.
 * - `Proves`: the card asks for a second factor, and gets it, or not.
 * - `WalksAway`: leaves the checkout, with or without saying so.
 */
export type Habit =
  | { readonly _tag: "Pays" }
  | { readonly _tag: "ClicksTwice"; readonly sameKey: boolean }
  | { readonly _tag: "Proves"; readonly passes: boolean }
  | { readonly _tag: "WalksAway"; readonly says: boolean }

export interface Buyer {
  readonly index: number
  readonly kind: Kind
  readonly habit: Habit
  /** The provider's test token of the card. */
  readonly card: string
  /** Tried after the first one was declined. */
  readonly secondCard?: string
  readonly currency: Currency
  readonly address: Address
  readonly express: boolean
  readonly lines: ReadonlyArray<{ readonly sku: string; readonly quantity: number }>
}

/** How a buyer shows up in the summary. Those in trouble have a card at which the provider fails half-way. */
export type Kind = "plain" | "clicks twice" | "declined" | "second factor" | "walks away" | "in trouble"

export type Currency = "EUR" | "USD" | "GBP" | "JPY"

interface Group {
  readonly kind: Kind
  /** Out of all shares together. */
  readonly share: number
  readonly habits: ReadonlyArray<Habit>
  readonly cards: ReadonlyArray<string>
}

const pays: ReadonlyArray<Habit> = [{ _tag: "Pays" }]
const good = ["pm_card_visa", "pm_card_visa_debit", "pm_card_mastercard", "pm_card_amex"]

/** Shares are out of 1000, together with those in trouble, whose share is the caller's to say. */
const groups: ReadonlyArray<Group> = [
  { kind: "plain", share: 720, habits: pays, cards: good },
  {
    kind: "clicks twice",
    share: 60,
    habits: [
      { _tag: "ClicksTwice", sameKey: true },
      { _tag: "ClicksTwice", sameKey: false }
    ],
    cards: good
  },
  {
    kind: "declined",
    share: 80,
    habits: pays,
    cards: [
      "pm_card_chargeDeclined",
      "pm_card_chargeDeclinedInsufficientFunds",
      "pm_card_chargeDeclinedExpiredCard",
      "pm_card_chargeDeclinedIncorrectCvc",
      "pm_card_chargeDeclinedStolenCard"
    ]
  },
  {
    kind: "second factor",
    share: 50,
    habits: [
      { _tag: "Proves", passes: true },
      { _tag: "Proves", passes: true },
      { _tag: "Proves", passes: true },
      { _tag: "Proves", passes: false }
    ],
    cards: ["pm_card_authenticationRequired"]
  },
  {
    kind: "walks away",
    share: 60,
    habits: [
      { _tag: "WalksAway", says: true },
      { _tag: "WalksAway", says: false }
    ],
    cards: good
  },
  {
    kind: "in trouble",
    share: 0,
    habits: pays,
    // Those which take longest come first, and those which fail often are not neighbours.
    cards: [
      "pm_sandbox_capture_503_always",
      "pm_sandbox_slow_capture_20s",
      "pm_sandbox_capture_declined",
      "pm_sandbox_authorize_lost_answer",
      "pm_sandbox_capture_lost_answer",
      "pm_sandbox_authorize_500_but_done",
      "pm_sandbox_capture_503_twice"
    ]
  }
]

const homes: ReadonlyArray<readonly [Currency, Address]> = [
  ["EUR", { name: "Ada Lovelace", line1: "Rosenthaler Str. 40", city: "Berlin", postalCode: "10178", country: "DE" }],
  [
    "EUR",
    { name: "Émilie du Châtelet", line1: "5 rue de Thorigny", city: "Paris", postalCode: "75003", country: "FR" }
  ],
  [
    "USD",
    { name: "Grace Hopper", line1: "500 Pearl St", city: "New York", region: "NY", postalCode: "10007", country: "US" }
  ],
  ["GBP", { name: "Mary Somerville", line1: "12 Queen Square", city: "Bath", postalCode: "BA1 2HN", country: "GB" }],
  ["JPY", { name: "Toshiko Yuasa", line1: "1-1 Chiyoda", city: "Tokyo", postalCode: "100-0001", country: "JP" }]
]

export interface DrawOptions {
  readonly count: number
  readonly seed: number
  readonly shelves: ReadonlyArray<Shelf>
  /** Buyers in trouble, out of 1000. */
  readonly troubledShare: number
  /** So many at the most: further ones have ordinary cards. */
  readonly troubledMax: number
}

/** The buyers of a run; the same options give the same ones. */
export const draw = ({
  count,
  seed,
  shelves,
  troubledMax,
  troubledShare
}: DrawOptions): Effect.Effect<ReadonlyArray<Buyer>> =>
  Effect.gen(function* () {
    const buyers: Array<Buyer> = []
    let troubled = 0
    for (let index = 0; index < count; index++) {
      const group = yield* weighted(groups, ({ kind, share }) => (kind === "in trouble" ? troubledShare : share))
      const inTrouble = group.kind === "in trouble" && troubled < troubledMax
      // Each of the troubles comes up before one comes up twice.
      const card = inTrouble ? group.cards[troubled++ % group.cards.length] : undefined
      buyers.push(yield* buyer(index, group.kind !== "in trouble" || inTrouble ? group : groups[0]!, card, shelves))
    }
    return buyers
  }).pipe(Random.withSeed(seed))

const buyer = Effect.fnUntraced(function* (
  index: number,
  group: Group,
  card: string | undefined,
  shelves: ReadonlyArray<Shelf>
) {
  const [currency, address] = yield* one(homes)
  const secondTry = group.kind === "declined" && (yield* Random.nextBoolean)
  const wanted = yield* Random.nextIntBetween(1, 5)
  const lines = new Map<string, number>()
  for (let drawn = 0; drawn < wanted * 4 && lines.size < Math.min(wanted, shelves.length); drawn++) {
    const { sku } = yield* weighted(shelves, ({ weight }) => weight)
    if (!lines.has(sku)) lines.set(sku, (yield* Random.next) < 0.75 ? 1 : 2)
  }
  return {
    index,
    kind: group.kind,
    habit: yield* one(group.habits),
    card: card ?? (yield* one(group.cards)),
    ...(secondTry ? { secondCard: yield* one(good) } : {}),
    currency,
    address,
    express: (yield* Random.next) < 0.2,
    lines: [...lines].map(([sku, quantity]) => ({ sku, quantity }))
  } satisfies Buyer
})

const one = <A>(options: ReadonlyArray<A>): Effect.Effect<A> =>
  Effect.map(Random.next, (drawn) => options[Math.floor(drawn * options.length)]!)

const weighted = <A>(options: ReadonlyArray<A>, weightOf: (option: A) => number): Effect.Effect<A> =>
  Effect.map(Random.next, (drawn) => {
    let left = drawn * options.reduce((sum, option) => sum + weightOf(option), 0)
    return options.find((option) => (left -= weightOf(option)) < 0) ?? options.at(-1)!
  })
