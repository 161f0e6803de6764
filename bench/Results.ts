/** What scenarios find: figures of one measurement, and what they come to over several. */

export type System = "node" | "floor"

/** Confirmations of prepared checkouts. Counts and CPU are net of what goes on when nobody buys. */
export interface Measured {
  readonly concurrency: number
  readonly checkouts: number
  /** From the first call to the last answer. */
  readonly seconds: number
  readonly perSecond: number
  /** From a confirmation's call to its answer. */
  readonly milliseconds: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number }
  /** What is done behind the answers included. */
  readonly perCheckout: { readonly commits: number; readonly statements: number; readonly walBytes: number }
  /** Absent where the kernel does not tell. */
  readonly cpuSecondsPerThousand: {
    readonly server: number | undefined
    readonly postgres: number | undefined
    readonly sandbox: number | undefined
    readonly load: number | undefined
  }
  /** Confirmations which ended as something else, by its name. */
  readonly refusals: Readonly<Record<string, number>>
  /** Where asked for. */
  readonly topStatements?: ReadonlyArray<{
    readonly perCheckout: number
    readonly milliseconds: number
    readonly text: string
  }>
}

export interface Cell extends Measured {
  readonly system: System
  readonly round: number
}

/** What a system does when nobody buys. */
export interface Idle {
  readonly system: System
  readonly perSecond: {
    readonly commits: number
    readonly statements: number
    readonly walBytes: number
    readonly server: number | undefined
    readonly postgres: number | undefined
  }
}

/** Of what was measured in pairs, since the machine is not the same in two rounds. */
export interface Ratio {
  readonly median: number
  readonly least: number
  readonly most: number
}

export type Medians = Omit<Measured, "concurrency" | "topStatements">

/** Medians over the rounds. */
export interface Summary {
  readonly concurrency: number
  readonly systems: Readonly<Partial<Record<System, Medians>>>
  /** Node to floor, of the two measurements of each round; above 1 the node is faster. */
  readonly ratio?: Ratio
}

/** Of sorted numbers: the least one which `share` of them do not exceed. */
export const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0

export const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = numbers.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** Of at least one number. */
export const ratioOf = (numbers: ReadonlyArray<number>): Ratio => ({
  median: median(numbers),
  least: Math.min(...numbers),
  most: Math.max(...numbers)
})

export const showRatio = ({ least, median: middle, most }: Ratio): string =>
  `${middle.toFixed(2)} (${least.toFixed(2)}-${most.toFixed(2)})`

export const summaryOf = (cells: ReadonlyArray<Cell>): ReadonlyArray<Summary> =>
  [...new Set(cells.map(({ concurrency }) => concurrency))].map((concurrency) => {
    const these = cells.filter((cell) => cell.concurrency === concurrency)
    const of = (system: System) => these.filter((cell) => cell.system === system)
    const ratios = of("node").flatMap(({ perSecond, round }) => {
      const floor = of("floor").find((cell) => cell.round === round)
      return floor === undefined ? [] : [perSecond / floor.perSecond]
    })
    return {
      concurrency,
      systems: Object.fromEntries(
        (["node", "floor"] as const).flatMap((system) =>
          of(system).length === 0 ? [] : [[system, mediansOf(of(system))]]
        )
      ),
      ...(ratios.length === 0 ? {} : { ratio: ratioOf(ratios) })
    }
  })

export const mediansOf = (cells: ReadonlyArray<Measured>): Medians => {
  const of = (pick: (cell: Measured) => number) => median(cells.map(pick))
  const ofKnown = (pick: (cell: Measured) => number | undefined) => {
    const known = cells.flatMap((cell) => pick(cell) ?? [])
    return known.length === 0 ? undefined : median(known)
  }
  return {
    checkouts: cells.reduce((sum, { checkouts }) => sum + checkouts, 0),
    seconds: cells.reduce((sum, { seconds }) => sum + seconds, 0),
    perSecond: of(({ perSecond }) => perSecond),
    milliseconds: {
      p50: of(({ milliseconds }) => milliseconds.p50),
      p95: of(({ milliseconds }) => milliseconds.p95),
      p99: of(({ milliseconds }) => milliseconds.p99),
      max: of(({ milliseconds }) => milliseconds.max)
    },
    perCheckout: {
      commits: of(({ perCheckout }) => perCheckout.commits),
      statements: of(({ perCheckout }) => perCheckout.statements),
      walBytes: of(({ perCheckout }) => perCheckout.walBytes)
    },
    cpuSecondsPerThousand: {
      server: ofKnown(({ cpuSecondsPerThousand }) => cpuSecondsPerThousand.server),
      postgres: ofKnown(({ cpuSecondsPerThousand }) => cpuSecondsPerThousand.postgres),
      sandbox: ofKnown(({ cpuSecondsPerThousand }) => cpuSecondsPerThousand.sandbox),
      load: ofKnown(({ cpuSecondsPerThousand }) => cpuSecondsPerThousand.load)
    },
    refusals: cells.reduce<Record<string, number>>((sum, { refusals }) => {
      for (const [name, count] of Object.entries(refusals)) sum[name] = (sum[name] ?? 0) + count
      return sum
    }, {})
  }
}

/** Columns under each other: those in `left` begin alike, the others end alike. */
export const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>, left: ReadonlyArray<number> = [0]): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((text, column) => (left.includes(column) ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
