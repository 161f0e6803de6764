/** Whether what clients were told is so: their histories beside the provider's ledger and the shop's tables. All pure. */
import type { Finding } from "../src/simulate/MoneyCheck.ts"
import type { Charge } from "../src/simulate/SandboxControl.ts"
import { type Answer, type Call, confirmationIn, isProgress } from "./History.ts"
import type { Snapshot } from "./Tables.ts"

/** Statuses of an order whose buyer has been told that it is confirmed. */
const live: ReadonlySet<string> = new Set(["confirmed", "processing", "shipped", "delivered"])

/** Every acknowledgement is in the table, with the total that was told; nobody heard of a fault of ours. */
export const checkAnswers = (history: ReadonlyArray<Call>, { orders }: Snapshot): Finding => {
  const orderOf = new Map(orders.map((order) => [order.id, order]))
  const problems = new Set<string>()
  let confirmations = 0
  for (const { answer, operation, subject, to } of history) {
    if (answer === undefined) continue
    if (answer._tag === "Died") problems.add(`${subject}: ${operation} broke the client: ${answer.cause}`)
    if (answer._tag === "Refusal" && answer.code === "InternalError")
      problems.add(`${subject}: ${operation} was answered with InternalError at ${clock(to)}`)
    const told = confirmationIn(answer)
    if (told === undefined) continue
    confirmations++
    const order = orderOf.get(told.orderId)
    if (order === undefined) problems.add(`${told.orderId}: told as confirmed at ${clock(to)}, and there is no order`)
    else if (!live.has(order.status))
      problems.add(`${told.orderId}: told as confirmed at ${clock(to)}, and its order is ${order.status}`)
    else if (order.amount !== told.amount || order.currency !== told.currency)
      problems.add(
        `${told.orderId}: told as confirmed for ${told.amount} ${told.currency}, and its order is for ${order.amount} ${order.currency}`
      )
  }
  return {
    problems: [...problems],
    summary: `${history.length} calls, ${confirmations} of them told of a confirmed order, which is as they say`
  }
}

const clock = (ms: number | undefined): string =>
  ms === undefined ? "no time" : new Intl.DateTimeFormat("sv", { timeStyle: "medium", timeZone: "UTC" }).format(ms)

/** The same key has the same answer, whoever is asked, and however often. */
export const checkKeys = (history: ReadonlyArray<Call>): Finding => {
  const asked = Map.groupBy(
    history.filter(({ answer, key }) => key !== undefined && answer !== undefined),
    ({ key, operation }) => `${operation} ${key}`
  )
  let repeated = 0
  const problems: Array<string> = []
  for (const [name, calls] of asked) {
    const said = new Set(calls.flatMap(({ answer, operation }) => lastingOf(operation, answer!) ?? []))
    if (calls.length > 1) repeated++
    if (said.size > 1)
      problems.push(`${name} was answered in ${said.size} ways: ${[...said].join(" | ").slice(0, 600)}`)
  }
  return { problems, summary: `${repeated} of ${asked.size} keys were used again, and had the same answer` }
}

/** What must be heard again with the same key; nothing for an answer which may change. */
const lastingOf = (operation: string, answer: Answer): string | undefined => {
  if (!isProgress(answer) || answer._tag === "Died") return undefined
  if (operation === "ConfirmCheckout") {
    if (answer._tag === "Success") {
      const told = confirmationIn(answer)
      return told === undefined ? undefined : `Confirmed ${told.orderId} ${told.amount} ${told.currency}`
    }
    return attemptEnds.has(answer.code) ? answer.code : undefined
  }
  return answer._tag === "Success" ? JSON.stringify(answer.content) : undefined
}

/** Refusals with which an attempt has ended. The others are about the moment: a cart that is locked may be free again. */
const attemptEnds: ReadonlySet<string> = new Set([
  "CheckoutCompensated",
  "CheckoutIncomplete",
  "OutOfStock",
  "PaymentDeclined",
  "PaymentUnavailable",
  "PriceChanged",
  "ProductsUnavailable",
  "ServiceTimeout"
])

/** After the faults everything ends: nothing waits for somebody who will not come, unless a record tells an operator to. */
export const checkUnfinished = ({ unfinished }: Snapshot, leftToOperator: ReadonlySet<string>): Finding => ({
  problems: unfinished
    .filter(({ id, kind }) => !(ofMoney.has(kind) && leftToOperator.has(id)))
    .map(({ id, kind, state }) => `${kind} ${id} is still ${state}`),
  summary: "no checkout, order, payment, refund, reservation, cart or workflow is left under way"
})

const ofMoney: ReadonlySet<string> = new Set(["payment", "refund"])

/** Every notice was delivered, or is set aside with its cause. */
export const checkNotices = ({ notices }: Snapshot): Finding => ({
  problems: notices.flatMap(({ attempts, error, from, parked, to }) => {
    if (!parked)
      return [`the notice from ${from} to ${to} is not delivered, after ${attempts} attempts (${error ?? "no error"})`]
    return error === null || error === "" ? [`the notice from ${from} to ${to} is parked without a cause`] : []
  }),
  summary: `all notices are delivered${notices.length === 0 ? "" : `, but for ${notices.length} which are parked with their cause`}`
})

/** Orders of whose money or stock a record says that it could not be given back, and that are as the record says. */
export const checkCompensations = ({ compensations, orders }: Snapshot, charges: ReadonlyArray<Charge>): Finding => {
  const orderOf = new Map(orders.map((order) => [order.id, order]))
  const recorded = new Set(compensations.map(({ orderId }) => orderId))
  const charged = new Set(charges.map(({ checkoutId }) => checkoutId))
  const problems = [
    ...orders
      .filter(({ id, settlementOpen }) => settlementOpen && !recorded.has(id))
      .map(({ id, status }) => `${id}: ${status}, its money is not given back, and no record says so`),
    ...compensations.flatMap(({ earlier, error, id, orderId }) => [
      ...(error === "" ? [`${id}: the record says no cause`] : []),
      ...(orderOf.has(orderId) || charged.has(orderId) ? [] : [`${id}: neither order nor payment is known`]),
      ...(!earlier && live.has(orderOf.get(orderId)?.status ?? "")
        ? [`${id}: its order is confirmed all the same`]
        : [])
    ])
  ]
  return {
    problems,
    summary: `${compensations.length} failed compensations, each with its order and its cause`
  }
}

/** Of every unit there was: still there, or sold; and every counter is the sum of its changes. */
export const checkPlaces = ({ places }: Pick<Snapshot, "places">, initially: Pick<Snapshot, "places">): Finding => {
  const before = new Map(initially.places.map(({ counters, place }) => [place, counters]))
  const problems = places.flatMap(({ counters, ledger, place }) => [
    ...Object.entries(counters).flatMap(([name, value]) =>
      value === ledger[name] ? [] : [`${place}: ${name} is ${value}, and the ledger's changes make ${ledger[name]}`]
    ),
    // What is sold and not yet sent is committed, and still there.
    ...(counters["on_hand"] === before.get(place)?.["on_hand"]
      ? []
      : [`${place}: ${counters["on_hand"]} on hand, and ${before.get(place)?.["on_hand"]} in the beginning`])
  ])
  return {
    problems,
    summary: `${places.length} places: every counter is the sum of its changes, and what is not sold is there`
  }
}
