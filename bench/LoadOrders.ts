/** What the benchmark asks of its load generator, and what it hears back. */

export type Order =
  | {
      readonly _tag: "Prepare"
      readonly url: string
      /** Signs the customers' tokens. */
      readonly secret: string
      readonly customers: number
      readonly checkouts: number
      /** Products are called `BENCH-0`, `BENCH-1` and so on. */
      readonly skus: number
      readonly seed: number
    }
  /** Every customer confirms what was prepared, one after another. */
  | { readonly _tag: "Confirm"; readonly url: string }

export type Report =
  | { readonly _tag: "Prepared" }
  | {
      readonly _tag: "Confirmed"
      readonly seconds: number
      /** Of each confirmation. */
      readonly milliseconds: ReadonlyArray<number>
      /** How often a confirmation ended as something else, by its name. */
      readonly refusals: Readonly<Record<string, number>>
    }
  | { readonly _tag: "Failed"; readonly cause: string }
