/** The pages of docs/state-machines show what the code does. `npm test -- test/docs -u` writes their generated parts anew. */
import { readFileSync } from "node:fs"
import { assert, describe, expect, it } from "@effect/vitest"
import { checkoutTransitions } from "../../src/entities/checkoutSession/CheckoutSession.ts"
import { compensationTransitions } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { orderTransitions } from "../../src/entities/order/Order.ts"
import { sagaTransitions } from "../../src/entities/payment/Payment.ts"
import { orderPaymentStatus } from "../../src/entities/payment/PaymentDecider.ts"
import { ledgers } from "../../src/entities/sellerAccount/SellerAccountDecider.ts"
import { type AnyMachine, markdown, matrixOf, movesOf } from "../fixtures/Machine.ts"
import { alertMachine } from "../fixtures/machines/AlertMachine.ts"
import { cartMachine } from "../fixtures/machines/CartMachine.ts"
import { checkoutSessionMachine } from "../fixtures/machines/CheckoutSessionMachine.ts"
import { failedCompensationMachine } from "../fixtures/machines/FailedCompensationMachine.ts"
import { orderMachine } from "../fixtures/machines/OrderMachine.ts"
import {
  isAboutReceipts,
  isAboutRefunds,
  paymentMachine,
  receiptColumns,
  refundColumns
} from "../fixtures/machines/PaymentMachine.ts"
import { providerEventMachine } from "../fixtures/machines/ProviderEventMachine.ts"
import { reservationMachine } from "../fixtures/machines/ReservationMachine.ts"
import { sellerAccountMachine } from "../fixtures/machines/SellerAccountMachine.ts"

type Transitions = Readonly<Record<string, ReadonlyArray<string>>>
type Moves = ReturnType<typeof movesOf>

const mermaid = (edges: ReadonlyArray<string>) =>
  ["```mermaid", "stateDiagram-v2", ...edges.map((edge) => `  ${edge}`), "```"].join("\n")

const labelled = (from: string, to: string, by: ReadonlyArray<string>) =>
  by.length === 0 ? `${from} --> ${to}` : `${from} --> ${to}: ${by.join(", ")}`

/** Where a machine has its transitions as data: each of them, with the commands that make it, if there are any yet. */
const diagramOf = (transitions: Transitions, moves: Moves): string =>
  mermaid([
    `[*] --> ${Object.keys(transitions)[0]}`,
    ...Object.entries(transitions).flatMap(([from, next]) =>
      next.map((to) => labelled(from, to, moves.find((move) => move.from === from && move.to === to)?.by ?? []))
    ),
    ...Object.entries(transitions).flatMap(([from, next]) => (next.length === 0 ? [`${from} --> [*]`] : []))
  ])

const tableOf = (transitions: Transitions): string =>
  markdown(
    ["from", "may become"],
    Object.entries(transitions).map(([from, next]) => [from, next.length === 0 ? "(final)" : next.join(", ")])
  )

/** Where they follow from the rules alone: what the examples of all commands do in all states. */
const observed = (machine: AnyMachine, initial: string): { readonly diagram: string; readonly transitions: string } => {
  const moves = movesOf(machine)
  const states = machine.statuses.filter((status) => status !== initial)
  const transitions = Object.fromEntries(
    states.map((from) => [from, moves.filter((move) => move.from === from).map(({ to }) => to)])
  )
  const name = (state: string) => (state === initial ? "[*]" : state)
  return {
    diagram: mermaid([
      ...moves.map(({ by, from, to }) => labelled(name(from), name(to), by)),
      ...states.flatMap((from) => (transitions[from]!.length === 0 ? [`${from} --> [*]`] : []))
    ]),
    transitions: tableOf(transitions)
  }
}

const saga: AnyMachine = {
  ...paymentMachine,
  statusOf: (state: { readonly saga?: string }) => state.saga ?? "none"
}

const aboutHolds = (command: { readonly _tag: string }) => !isAboutRefunds(command) && !isAboutReceipts(command)

const columns = Object.keys(checkoutSessionMachine.states)
const ended = ["confirmed", "compensated", "abandoned", "expired"]

interface Page {
  readonly machine: AnyMachine
  /** What has to be explained besides the commands. */
  readonly names: ReadonlyArray<string>
  readonly parts: Readonly<Record<string, string>>
}

const pages: Readonly<Record<string, Page>> = {
  alert: {
    machine: alertMachine,
    names: alertMachine.statuses,
    parts: { ...observed(alertMachine, "Absent"), matrix: matrixOf(alertMachine) }
  },
  cart: {
    machine: cartMachine,
    names: cartMachine.statuses,
    parts: { ...observed(cartMachine, "Absent"), matrix: matrixOf(cartMachine) }
  },
  checkout: {
    machine: checkoutSessionMachine,
    names: Object.keys(checkoutTransitions),
    parts: {
      diagram: diagramOf(checkoutTransitions, movesOf(checkoutSessionMachine)),
      transitions: tableOf(checkoutTransitions),
      matrix: matrixOf(
        checkoutSessionMachine,
        columns.filter((column) => !ended.includes(column))
      ),
      ended: matrixOf(checkoutSessionMachine, ended)
    }
  },
  reservation: {
    machine: reservationMachine,
    names: reservationMachine.statuses,
    parts: { ...observed(reservationMachine, "Absent"), matrix: matrixOf(reservationMachine) }
  },
  payment: {
    machine: paymentMachine,
    names: [...Object.keys(sagaTransitions), ...Object.keys(orderPaymentStatus)],
    parts: {
      diagram: diagramOf(sagaTransitions, movesOf(saga)),
      transitions: tableOf(sagaTransitions),
      statuses: markdown(["payment", "order shows"], Object.entries(orderPaymentStatus)),
      hold: matrixOf(
        paymentMachine,
        ["absent", "begun", "asked", "second factor", "unknown", "left", "failed", "voided"],
        aboutHolds
      ),
      capture: matrixOf(
        paymentMachine,
        ["authorized", "capture_pending", "capture_failed", "captured", "partially_refunded", "refunded"],
        aboutHolds
      ),
      refunds: matrixOf(paymentMachine, refundColumns, isAboutRefunds),
      receipts: matrixOf(paymentMachine, receiptColumns, isAboutReceipts)
    }
  },
  "failed-compensation": {
    machine: failedCompensationMachine,
    names: failedCompensationMachine.statuses,
    parts: {
      diagram: diagramOf(compensationTransitions, movesOf(failedCompensationMachine)),
      transitions: tableOf(compensationTransitions),
      matrix: matrixOf(failedCompensationMachine)
    }
  },
  "seller-account": {
    machine: sellerAccountMachine,
    names: [...sellerAccountMachine.statuses, ...ledgers],
    parts: { matrix: matrixOf(sellerAccountMachine) }
  },
  "provider-event": {
    machine: providerEventMachine,
    names: providerEventMachine.statuses,
    parts: { ...observed(providerEventMachine, "absent"), matrix: matrixOf(providerEventMachine) }
  },
  order: {
    machine: orderMachine,
    names: Object.keys(orderTransitions),
    parts: {
      diagram: diagramOf(orderTransitions, movesOf(orderMachine)),
      transitions: tableOf(orderTransitions),
      matrix: matrixOf(orderMachine)
    }
  }
}

const begin = (part: string) => `<!-- begin ${part}: written by "npm test -- test/docs -u" -->`
const end = (part: string) => `<!-- end ${part} -->`

/** The page with its generated parts as they should be. */
const renewed = (page: string, parts: Page["parts"]): string => {
  let text = page
  for (const [part, content] of Object.entries(parts)) {
    const from = text.indexOf(begin(part))
    const to = text.indexOf(end(part))
    assert(from >= 0 && to > from, `the page has no part ${part}`)
    text = `${text.slice(0, from)}${begin(part)}\n\n${content}\n\n${text.slice(to)}`
  }
  return text
}

for (const [name, { machine, names, parts }] of Object.entries(pages)) {
  describe(`docs/state-machines/${name}.md`, () => {
    const path = new URL(`../../docs/state-machines/${name}.md`, import.meta.url).pathname
    const page = readFileSync(path, "utf8")

    it("shows what the code does", async () => {
      await expect(renewed(page, parts)).toMatchFileSnapshot(path)
    })

    it("explains every state, and every command, in words", () => {
      const prose = page.replaceAll(/<!-- begin[\s\S]*?<!-- end \w+ -->/g, "")
      const explained = (word: string) => prose.includes(`\`${word}\``)
      assert.deepStrictEqual(
        [...names, ...machine.commandTags].filter((word) => !explained(word)),
        []
      )
    })
  })
}
