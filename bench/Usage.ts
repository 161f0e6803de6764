/** What a subject and those around it have used up so far: CPU as the kernel counts it, and what the database did. */
import { Effect } from "effect"
import type { Duration } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Figures } from "./DatabaseFigures.ts"
import * as Processes from "./Processes.ts"
import type { ProcessFailed } from "./Processes.ts"
import type { Idle } from "./Results.ts"
import type { Stage, Subject } from "./Stage.ts"

/** CPU is in seconds, and absent where the kernel does not tell. */
export interface Usage extends Figures {
  /** Milliseconds of a clock of our own. */
  readonly at: number
  /** Of all its nodes. */
  readonly server: number | undefined
  readonly postgres: number | undefined
  readonly sandbox: number | undefined
  readonly load: number | undefined
}

export const read = Effect.fn("Usage.read")(function* (
  { load, sandbox }: Pick<Stage, "load" | "sandbox">,
  { figures, nodes, postmaster }: Subject
): Effect.fn.Return<Usage, SqlError> {
  const servers = yield* Effect.forEach(nodes, ({ pid }) => Processes.cpuOf(pid))
  const cpu = yield* Effect.all({
    postgres: Processes.cpuOfTree(postmaster),
    sandbox: Processes.cpuOf(sandbox.pid),
    load: Processes.cpuOf(load.pid)
  })
  return {
    ...cpu,
    server: servers.reduce((sum, one) => (sum === undefined || one === undefined ? undefined : sum + one), 0),
    ...(yield* figures.read),
    at: performance.now()
  }
})

/** What a subject does when nobody buys, watched for a while after it has come to rest. */
export const whenIdle = Effect.fn("Usage.whenIdle")(function* (
  stage: Stage,
  subject: Subject,
  duration: Duration.Input
): Effect.fn.Return<{ readonly idle: Idle; readonly before: Usage; readonly after: Usage }, ProcessFailed | SqlError> {
  yield* subject.settled
  const before = yield* read(stage, subject)
  yield* Effect.sleep(duration)
  const after = yield* read(stage, subject)
  const rate = (name: "commits" | "statements" | "walBytes") =>
    ((after[name] - before[name]) * 1000) / (after.at - before.at)
  const cpu = (name: "server" | "postgres") => {
    const [one, other] = [before[name], after[name]]
    return one === undefined || other === undefined ? undefined : ((other - one) * 1000) / (after.at - before.at)
  }
  const perSecond = {
    commits: rate("commits"),
    statements: rate("statements"),
    walBytes: rate("walBytes"),
    server: cpu("server"),
    postgres: cpu("postgres")
  }
  return { idle: { system: subject.system, perSecond }, before, after }
})

/** What was done between two looks, by statement: those that took longest first. */
export const topStatements = Effect.fn("Usage.topStatements")(function* (
  { figures }: Subject,
  before: Usage,
  after: Usage
): Effect.fn.Return<
  ReadonlyArray<{ readonly calls: number; readonly milliseconds: number; readonly text: string }>,
  SqlError
> {
  const texts = yield* figures.texts
  return [...after.calls]
    .map(([id, { calls, ms }]) => ({
      calls: calls - (before.calls.get(id)?.calls ?? 0),
      milliseconds: ms - (before.calls.get(id)?.ms ?? 0),
      text: (texts.get(id) ?? "").replaceAll(/\s+/g, " ").slice(0, 160)
    }))
    .filter(({ calls }) => calls > 0)
    .toSorted((left, right) => right.milliseconds - left.milliseconds)
    .slice(0, 12)
})

/** Has the nodes of a subject profiled while something goes on, where profiles are wanted. */
export const profiled =
  (stage: Stage, { nodes, system }: Subject) =>
  <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => {
    if (stage.profiles === undefined || system === "floor") return effect
    const toggle = Effect.andThen(
      Effect.sync(() => {
        for (const { child } of nodes) child.kill("SIGUSR2")
      }),
      // It takes a moment to begin, and one to write its file.
      Effect.sleep("500 millis")
    )
    return Effect.acquireUseRelease(
      toggle,
      () => effect,
      () => toggle
    )
  }
