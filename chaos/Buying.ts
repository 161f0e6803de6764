/** Customers who keep coming as long as the run goes on, and ask again what they have been told already. */
import { Effect } from "effect"
import type { StorefrontCalls } from "../src/client/OrdersClient.ts"
import type { Buyer } from "../src/simulate/Buyers.ts"
import { checkoutIdOf, openWindow, type Surroundings, visit, type Visit } from "../src/simulate/Visit.ts"
import type { Call, History } from "./History.ts"

export interface BuyingOptions {
  readonly surroundings: Surroundings
  readonly history: History
  readonly buyers: ReadonlyArray<Buyer>
  /** In the shop at once. */
  readonly concurrency: number
  /** Nobody else comes in from then on. */
  readonly closed: () => boolean
}

export interface Bought {
  readonly visits: Array<Visit>
  /** Of everybody who came in. */
  readonly begun: Set<Buyer>
}

/** Returns when everybody has left. */
export const buy = Effect.fnUntraced(function* (options: BuyingOptions, bought: Bought) {
  const { buyers, closed, concurrency, history, surroundings } = options
  let next = 0
  const come = Effect.gen(function* () {
    while (!closed() && next < buyers.length) {
      const buyer = buyers[next++]!
      bought.begun.add(buyer)
      bought.visits.push(yield* visit(surroundings, buyer))
      if (buyer.index % 3 === 0) yield* repeat(surroundings, buyer, callsOf(history, buyer, surroundings))
      yield* Effect.sleep(buyer.index % 50)
    }
  })
  yield* Effect.forEach(Array.from({ length: concurrency }), () => come, {
    concurrency: "unbounded",
    discard: true
  })
})

/** What a buyer has said in this run, a few of it, each with its key. */
const callsOf = (history: History, buyer: Buyer, surroundings: Surroundings): ReadonlyArray<Call> => {
  const subjects = new Set([checkoutIdOf(surroundings, buyer), `${surroundings.run}-cart-${buyer.index}`])
  const own: Array<Call> = []
  // A visit's calls are among the latest.
  for (let index = history.length - 1; index >= 0 && index > history.length - 2000; index--) {
    const call = history[index]!
    if (subjects.has(call.subject) && call.key !== undefined && call.answer !== undefined) own.push(call)
  }
  return own.filter((_, index) => (index + buyer.index) % 2 === 0).slice(0, 4)
}

/** Says the same with the same keys at another window, which knows the nodes in another order. The history tells what came of it. */
export const repeat = Effect.fnUntraced(function* (
  surroundings: Surroundings,
  buyer: Pick<Buyer, "index">,
  calls: ReadonlyArray<Call>
) {
  if (calls.length === 0) return
  const window = yield* openWindow(surroundings, buyer, 1)
  for (const { input, operation } of calls) {
    yield* Effect.ignore(operationOf(window, operation)(input))
  }
}, Effect.scoped)

const operationOf = (window: StorefrontCalls, name: string): ((input: unknown) => Effect.Effect<unknown, unknown>) =>
  (window as unknown as Readonly<Record<string, (input: unknown) => Effect.Effect<unknown, unknown>>>)[name]!
