/** What the benchmark found, as data and as tables. */

export type System = "node" | "floor"

/** One measurement. Counts and CPU are net of what goes on when nobody buys. */
export interface Cell {
  readonly system: System
  readonly round: number
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
  /** Confirmations which ended as something else, by its name. There should be none. */
  readonly refusals: Readonly<Record<string, number>>
  /** Of the last round. */
  readonly topStatements?: ReadonlyArray<{
    readonly perCheckout: number
    readonly milliseconds: number
    readonly text: string
  }>
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

/** Medians over the rounds. */
export interface Summary {
  readonly concurrency: number
  readonly systems: Readonly<Partial<Record<System, Omit<Cell, "system" | "round" | "concurrency" | "topStatements">>>>
  /** Node to floor, of the two measurements of each round; above 1 the node is faster. */
  readonly ratio?: { readonly median: number; readonly least: number; readonly most: number }
}

export interface Result {
  readonly machine: { readonly cpus: number; readonly cpu: string; readonly memoryGb: number; readonly node: string }
  readonly options: {
    readonly orders: number
    readonly concurrency: ReadonlyArray<number>
    readonly rounds: number
    readonly warmUpRounds: number
    readonly skus: number
    readonly seed: number
  }
  readonly idle: ReadonlyArray<Idle>
  readonly cells: ReadonlyArray<Cell>
  readonly summary: ReadonlyArray<Summary>
}

/** Of sorted numbers: the least one which `share` of them do not exceed. */
export const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0

export const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = numbers.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

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
      ...(ratios.length === 0
        ? {}
        : { ratio: { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) } })
    }
  })

const mediansOf = (cells: ReadonlyArray<Cell>) => {
  const of = (pick: (cell: Cell) => number) => median(cells.map(pick))
  const ofKnown = (pick: (cell: Cell) => number | undefined) => {
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

/** For people. */
export const tableOf = ({ idle, summary }: Result): string => {
  const rows = summary.flatMap(({ concurrency, ratio, systems }) =>
    (["node", "floor"] as const).flatMap((system) => {
      const found = systems[system]
      if (found === undefined) return []
      const { cpuSecondsPerThousand: cpu, milliseconds, perCheckout, perSecond } = found
      const wins =
        ratio === undefined || system === "floor"
          ? ""
          : `${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)}-${ratio.most.toFixed(2)})`
      return [
        [
          String(concurrency),
          system,
          perSecond.toFixed(0),
          wins,
          milliseconds.p50.toFixed(1),
          milliseconds.p95.toFixed(1),
          milliseconds.p99.toFixed(1),
          perCheckout.commits.toFixed(2),
          perCheckout.statements.toFixed(2),
          (perCheckout.walBytes / 1024).toFixed(1),
          cpu.server?.toFixed(2) ?? "-",
          cpu.postgres?.toFixed(2) ?? "-",
          cpu.sandbox?.toFixed(2) ?? "-",
          cpu.load?.toFixed(2) ?? "-"
        ]
      ]
    })
  )
  const head = [
    "at once",
    "system",
    "/s",
    "x floor",
    "p50 ms",
    "p95",
    "p99",
    "commits",
    "statements",
    "WAL KB",
    "CPU server",
    "Postgres",
    "sandbox",
    "load"
  ]
  return [
    aligned([head, ...rows]),
    "",
    "Per checkout: commits, statements, WAL. CPU: seconds per 1000 checkouts. Medians over the rounds; x floor is the median (least-most) of pairs.",
    ...idle.map(
      ({ perSecond, system }) =>
        `When nobody buys, the ${system} makes ${perSecond.statements.toFixed(1)} statements and ${perSecond.commits.toFixed(1)} commits a second; they are taken off.`
    )
  ].join("\n")
}

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((text, column) => (column === 1 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
        .join("  ")
    )
    .join("\n")
}
