/** What the benchmark asks of its load generator, and what it hears back. */

/** Whose customers come to which nodes: each customer begins with another node, and has a connection of its own. */
interface Visit {
  readonly urls: ReadonlyArray<string>
  /** Signs the customers' tokens. */
  readonly secret: string
}

export const customerName = (customer: number) => `bench-customer-${customer}`

/** A checkout and the number of its customer. */
export interface Checkout {
  readonly customer: number
  readonly cartId: string
  readonly checkoutId: string
}

/** A finished checkout, and what its customer has to hear of it. */
export interface Finished {
  readonly customer: number
  readonly checkoutId: string
  readonly number: string
}

export type Order =
  | (Visit & {
      readonly _tag: "Prepare"
      /** They share the checkouts out among themselves. */
      readonly customers: number
      readonly checkouts: number
      /** What each of them buys: one piece of two products of so many, or one piece of this one. */
      readonly basket:
        | { readonly _tag: "TwoOf"; readonly skus: number }
        | { readonly _tag: "One"; readonly sku: string }
      readonly seed: number
    })
  /** Every customer confirms what is theirs, one after another. */
  | (Visit & {
      readonly _tag: "Confirm"
      readonly checkouts: ReadonlyArray<Checkout>
      /** Customers under way at the most; all of them unless given. */
      readonly atOnce?: number
    })
  /** Asks how confirmations stand. */
  | (Visit & { readonly _tag: "AskStatus"; readonly orders: ReadonlyArray<Finished>; readonly atOnce: number })

export type Report =
  | {
      readonly _tag: "Prepared"
      readonly to: "Prepare"
      readonly checkouts: ReadonlyArray<Checkout>
    }
  | {
      readonly _tag: "Confirmed"
      readonly to: "Confirm"
      readonly seconds: number
      /** Of each confirmation. */
      readonly milliseconds: ReadonlyArray<number>
      /** When each of them was sent, as milliseconds since 1970. */
      readonly sentAt: ReadonlyArray<number>
      /** Checkouts of which their customer has heard that they are confirmed, with the order's number. */
      readonly confirmed: ReadonlyArray<{ readonly checkoutId: string; readonly number: string }>
      /** How often a confirmation ended as something else, by its name. */
      readonly refusals: Readonly<Record<string, number>>
    }
  | {
      readonly _tag: "Status"
      readonly to: "AskStatus"
      readonly seconds: number
      /** What was heard of those of which something else was heard than is true; the first few. */
      readonly wrong: ReadonlyArray<string>
      readonly right: number
    }
  | { readonly _tag: "Failed"; readonly cause: string }

/** What is heard when all goes well. */
export type ReportTo<O extends Order> = Extract<Report, { readonly to: O["_tag"] }>
