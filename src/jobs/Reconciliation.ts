/**
 * Looks everything through on schedules of its own, and when an operator asks: one check after the other, a page at a time, on one node of
 * the cluster. Where a run is, and what it has found, is durable, so that another node goes on where one has died. REQUIREMENTS C.23.
 */
import { Clock, DateTime, Duration, Effect, type Layer, Metric, Result, Schedule } from "effect"
import { type Sharding, Singleton } from "effect/cluster"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { IdempotencyKey, OrderId } from "../domain/Ids.ts"
import { Currency } from "../domain/Money.ts"
import type { Unavailable } from "../domain/Refusals.ts"
import { Alert, type AlertDetails, AlertId } from "../entities/alert/Alert.ts"
import { Placement } from "../runtime/Placement.ts"
import { detailOf } from "../runtime/PostgresStore.ts"
import type { Check, CheckGroup, Finding, Page, Run } from "../workflows/reconciliation/Check.ts"

/** When the checks of a group are run by themselves: so often, or once a day, so long after midnight UTC. */
export type ReconciliationSchedule = { readonly group: CheckGroup } & (
  | { readonly every: Duration.Duration }
  | { readonly dailyAt: Duration.Duration }
)

export interface ReconciliationLimits {
  readonly schedules: ReadonlyArray<ReconciliationSchedule>
  /** Things looked at at once. */
  readonly page: number
  /** Between two looks for a run which is asked for. */
  readonly pollInterval: Duration.Duration
  /** Reports are kept for this long. */
  readonly keepFor: Duration.Duration
}

export interface ReconciliationOptions extends ReconciliationLimits {
  readonly checks: ReadonlyArray<Check>
}

// MET-17.
const lastRun = Metric.gauge("job_last_run_seconds", { description: "When a job has ended last, as a Unix time" })
const runSeconds = Metric.gauge("job_duration_seconds", { description: "How long a job took the last time" })
const examinedTotal = Metric.counter("reconciliation_examined_total", {
  description: "Things which were looked at, by check",
  incremental: true
})
const foundTotal = Metric.counter("reconciliation_findings_total", {
  description: "What was found wrong, by check and by what became of it",
  incremental: true
})

/** Rests for this many times as long as a page took: serving goes first. */
const restFactor = 4
/** And at most for so long. */
const restMax = Duration.seconds(5)
/** A page which fails is tried again so many times; then its check is given up for this run. */
const triesMax = 4
/** Findings of one check which a report names, and of which alerts tell. */
const namedMax = 1000
const alertsMax = 50
/** After a start other things come first; what an operator asks for does not wait. */
const settleFor = Duration.minutes(1)
/** A page which takes longer is a failure. */
const pageWithin = Duration.minutes(2)

/** What one check came to. */
interface CheckResult {
  readonly check: string
  readonly examined: number
  readonly found: number
  readonly corrected: number
  readonly raised: number
  /** Why it could not be looked through; absent when it was. */
  readonly error?: string
}

interface OpenRun {
  readonly id: string
  readonly version: number
  readonly checks: ReadonlyArray<string>
  readonly position: number
  readonly place: string | null
  readonly results: ReadonlyArray<CheckResult>
  readonly started: boolean
  readonly createdAt: string
}

/** Another node is at the same run: it has written its step, so this one has nothing more to do with it. */
class Overtaken {
  readonly _tag = "Overtaken"
}

const make = (options: ReconciliationOptions) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const alerts = (yield* Placement).client(Alert)
    const byName = new Map(options.checks.map((check) => [check.name, check]))

    const asked = new Map<ReconciliationSchedule, string>()

    /** Asks for what is due by its schedule: the latest time that has passed, once, whoever asks. */
    const schedule = Effect.gen(function* () {
      const now = yield* DateTime.now
      for (const one of options.schedules) {
        const due = latestOf(now, one)
        const id = `${one.group}:${DateTime.formatIso(due)}`
        if (asked.get(one) === id) continue
        const checks = options.checks.filter(({ group }) => group === one.group).map(({ name }) => name)
        yield* sql`
          insert into ops.reconciliations (id, checks, status, created_at, updated_at)
          select ${id}, ${JSON.stringify(checks)}::text::jsonb, 'queued', ${DateTime.toDateUtc(due)}::timestamptz,
            ${DateTime.toDateUtc(now)}::timestamptz
          where not exists (select from ops.reconciliations where id = ${id})
          on conflict do nothing`
        asked.set(one, id)
      }
    })

    const next = sql<OpenRun>`
      select id, version, checks, position, place, results, started_at is not null as started,
        to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt"
      from ops.reconciliations where status in ('queued', 'running') order by created_at, id limit 1`.pipe(
      Effect.map(([run]) => run)
    )

    /** One step of a run, over the version it was read at. */
    const advance = Effect.fnUntraced(function* (
      run: OpenRun,
      change: {
        readonly position: number
        readonly place: string | undefined
        readonly results: ReadonlyArray<CheckResult>
      }
    ): Effect.fn.Return<OpenRun, SqlError | Overtaken> {
      const now = DateTime.toDateUtc(yield* DateTime.now)
      const place = change.place ?? null
      const written = yield* sql`
        update ops.reconciliations set version = version + 1, status = 'running', started_at = coalesce(started_at, ${now}::timestamptz),
          position = ${change.position}, place = ${place}::text, results = ${JSON.stringify(change.results)}::text::jsonb,
          updated_at = ${now}::timestamptz
        where id = ${run.id} and version = ${run.version} returning id`
      if (written.length === 0) return yield* Effect.fail(new Overtaken())
      return { ...run, ...change, place, started: true, version: run.version + 1 }
    })

    const note = Effect.fnUntraced(function* (run: OpenRun, { name }: Check, findings: ReadonlyArray<Finding>) {
      if (findings.length === 0) return
      const now = DateTime.toDateUtc(yield* DateTime.now)
      const rows = findings.map(({ amount, authorization, currency, orderId, outcome, subject, text }) => ({
        subject,
        outcome,
        text: text.slice(0, 500),
        order_id: orderId,
        amount: amount?.toString(),
        currency,
        authorization_hash: authorization
      }))
      // A page which is looked at again, since its node died, has found the same.
      yield* sql`
        insert into ops.reconciliation_findings (reconciliation_id, check_name, subject, outcome, text, order_id, amount, currency, authorization_hash, at)
        select ${run.id}, ${name}, x.subject, x.outcome, x.text, x.order_id, x.amount, x.currency, x.authorization_hash, ${now}::timestamptz
        from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb)
          as x (subject text, outcome text, text text, order_id text, amount bigint, currency text, authorization_hash text)
        where exists (
            select from ops.reconciliation_findings f
            where f.reconciliation_id = ${run.id} and f.check_name = ${name} and f.subject = x.subject)
          or (select count(*) from ops.reconciliation_findings f where f.reconciliation_id = ${run.id} and f.check_name = ${name}) < ${namedMax}
        on conflict (reconciliation_id, check_name, subject) do update set outcome = excluded.outcome, text = excluded.text,
          order_id = excluded.order_id, amount = excluded.amount, currency = excluded.currency, authorization_hash = excluded.authorization_hash
        where reconciliation_findings.outcome = 'open' or excluded.outcome = 'raised'`
    })

    /** What a check has found in this run: its numbers, and those of which people are told. */
    const findingsOf = Effect.fnUntraced(function* (run: OpenRun, { name }: Check) {
      const counts = yield* sql<{ readonly outcome: string; readonly count: number }>`
        select outcome, count(*)::int as count from ops.reconciliation_findings
        where reconciliation_id = ${run.id} and check_name = ${name} group by 1`
      const named = yield* sql<{
        readonly subject: string
        readonly outcome: string
        readonly text: string
        readonly orderId: string | null
        readonly amount: string | null
        readonly currency: string | null
        readonly authorization: AlertDetails["authorization"] | null
      }>`
        select subject, outcome, text, order_id as "orderId", amount::text as amount, currency, authorization_hash as authorization
        from ops.reconciliation_findings where reconciliation_id = ${run.id} and check_name = ${name} and outcome <> 'open' order by seq limit ${alertsMax}`
      const count = (outcome: string) => counts.find((row) => row.outcome === outcome)?.count ?? 0
      const [corrected, raised] = [count("corrected"), count("raised")]
      return { counts: { found: corrected + raised, corrected, raised }, named }
    })

    const raise = (id: string, key: string, { name, severity }: Check, summary: string, details: AlertDetails) =>
      alerts(AlertId.make(id))
        .Raise({ key: IdempotencyKey.make(key), kind: `reconciliation_${name}`, severity, summary, details })
        .pipe(
          // Told by this run before its node died; since then it has found more, which the next one tells.
          Effect.catchTag("IdempotencyConflict", () => Effect.void),
          Effect.catchTag(["NotFound", "IllegalTransition"], (refusal) => Effect.die(refusal))
        )

    /** Alerts of this check which are not about anything found in this run: the trouble is over. */
    const clear = Effect.fnUntraced(function* (run: OpenRun, { name }: Check, kept: ReadonlySet<string>) {
      const live = yield* sql<{ readonly id: string }>`
        select id from ops.alerts where status <> 'cleared' and kind = ${`reconciliation_${name}`} limit 1000`
      for (const { id } of live) {
        if (kept.has(id)) continue
        yield* alerts(AlertId.make(id))
          .Clear({ key: IdempotencyKey.make(keyOf("clear", run.id, id)), reason: "Reconciliation finds it no more" })
          .pipe(Effect.catchTag(["NotFound", "IllegalTransition", "IdempotencyConflict"], () => Effect.void))
      }
    })

    /** People are told of what was found, and that what was found before is over. ALR-09, ALR-12, ALR-14. */
    const tell = Effect.fnUntraced(function* (run: OpenRun, check: Check, error?: string) {
      const { counts, named } = yield* findingsOf(run, check)
      const kept = new Set<string>()
      if (check.alerts === "each") {
        for (const { amount, authorization, currency, orderId, outcome, subject, text } of named) {
          if (outcome !== "raised") continue
          const id = alertOf(check, subject)
          kept.add(id)
          yield* raise(id, keyOf("raise", run.id, id), check, `Reconciliation: ${check.about}`, {
            ...(orderId === null ? {} : { orderId: OrderId.make(orderId) }),
            ...(amount === null ? {} : { amount: BigInt(amount) }),
            ...(currency === null ? {} : { currency: Currency.make(currency) }),
            ...(authorization === null || authorization === undefined ? {} : { authorization }),
            error: text
          })
        }
      }
      if (check.alerts === "together" && counts.found > 0) {
        const id = alertOf(check)
        kept.add(id)
        const list = named.map(({ subject, text }) => `${subject} (${text})`).join("; ")
        yield* raise(id, keyOf("raise", run.id, id), check, `Reconciliation: ${counts.found} ${check.about}`, {
          error: list.slice(0, 500),
          recorded: true
        })
      }
      if (error === undefined) {
        yield* clear(run, check, kept)
      } else {
        const id = `reconciliation_incomplete:${check.name}`
        const summary = "Reconciliation could not look through everything"
        yield* raise(id, keyOf("raise", run.id, id), { ...check, severity: "warning" }, summary, { error })
      }
      return counts
    })

    /** Everything of a run that is left. */
    const work = Effect.fn("Reconciliation.work")(function* (
      found: OpenRun
    ): Effect.fn.Return<OpenRun, SqlError | Overtaken | Unavailable> {
      let run = yield* advance(found, {
        position: found.position,
        place: found.place ?? undefined,
        results: found.results
      })
      const of: Run = { id: run.id, askedAt: DateTime.makeUnsafe(run.createdAt), limit: options.page }
      while (run.position < run.checks.length) {
        const name = run.checks[run.position]!
        const check = byName.get(name)
        const earlier = run.results[run.position]
        const step = { position: run.position + 1, place: undefined }
        if (check === undefined) {
          // Of a version before, or behind: what cannot be looked through is said so.
          run = yield* advance(run, { ...step, results: [...run.results, failed(name, "no such check")] })
          continue
        }
        const started = yield* Clock.currentTimeMillis
        const looked = yield* Effect.result(
          check.page(of, run.place ?? undefined).pipe(
            Effect.timeout(pageWithin),
            Effect.catchDefect((defect) =>
              Effect.logError("A check has broken", defect).pipe(Effect.andThen(Effect.fail({ _tag: "Defect" })))
            ),
            Effect.retry({
              times: triesMax - 1,
              schedule: Schedule.exponential("500 millis", 3)
            })
          )
        )
        const before = run.results.slice(0, run.position)
        const examined = (earlier?.examined ?? 0) + (Result.isSuccess(looked) ? looked.success.examined : 0)
        if (Result.isFailure(looked)) {
          yield* Effect.logWarning("A check is given up for this time", { check: name, error: looked.failure._tag })
          // What was begun and not ended here is for somebody to look at, or for the next run.
          yield* sql`
            update ops.reconciliation_findings set outcome = 'raised', text = 'looked into, and what came of it is not known'
            where reconciliation_id = ${run.id} and check_name = ${name} and outcome = 'open'`
          const counts = yield* tell(run, check, looked.failure._tag)
          const result = { check: name, examined, ...counts, error: looked.failure._tag }
          run = yield* advance(run, { ...step, results: [...before, result] })
          continue
        }
        const { findings, next: place }: Page = looked.success
        yield* Metric.update(Metric.withAttributes(examinedTotal, { check: name }), looked.success.examined)
        for (const { outcome } of findings) {
          yield* Metric.update(Metric.withAttributes(foundTotal, { check: name, outcome }), 1)
        }
        yield* note(run, check, findings)
        if (place === undefined) {
          const told = yield* tell(run, check)
          run = yield* advance(run, { ...step, results: [...before, { check: name, examined, ...told }] })
          continue
        }
        const so = { check: name, examined, found: 0, corrected: 0, raised: 0 }
        run = yield* advance(run, { position: run.position, place, results: [...before, so] })
        const took = Duration.millis((yield* Clock.currentTimeMillis) - started)
        yield* Effect.sleep(Duration.min(Duration.times(took, restFactor), restMax))
      }
      return run
    })

    const end = Effect.fnUntraced(function* (run: OpenRun) {
      const incomplete = run.results.some(({ error }) => error !== undefined)
      const now = yield* DateTime.now
      const ended = yield* sql<{ readonly seconds: number }>`
        update ops.reconciliations set version = version + 1, status = ${incomplete ? "incomplete" : "completed"},
          finished_at = ${DateTime.toDateUtc(now)}::timestamptz, updated_at = ${DateTime.toDateUtc(now)}::timestamptz
        where id = ${run.id} and version = ${run.version}
        returning extract(epoch from finished_at - started_at)::float8 as seconds`
      if (ended.length === 0) return
      yield* sql`delete from ops.reconciliation_seen where reconciliation_id = ${run.id}`
      const job = Metric.withAttributes({ job: "reconciliation" })
      yield* Metric.update(job(lastRun), now.epochMilliseconds / 1000)
      yield* Metric.update(job(runSeconds), ended[0]?.seconds ?? 0)
      const found = run.results.reduce((sum, one) => sum + one.found, 0)
      if (found > 0 || incomplete) {
        yield* Effect.logWarning("Reconciliation has found something, or could not look everywhere", {
          id: run.id,
          found,
          incomplete
        })
      }
    })

    const forget = Effect.flatMap(
      DateTime.now,
      (now) => sql`
        delete from ops.reconciliations where id in (
          select id from ops.reconciliations
          where created_at < ${DateTime.toDateUtc(DateTime.subtractDuration(now, options.keepFor))}::timestamptz and finished_at is not null
          order by created_at limit 20)`
    )

    /** The oldest run there is, to its end; `false` when there is none. */
    const once = Effect.gen(function* () {
      const run = yield* next
      if (run === undefined) return false
      yield* end(yield* work(run))
      yield* forget
      return true
    })

    return { schedule, once }
  })

const failed = (check: string, error: string): CheckResult => ({
  check,
  examined: 0,
  found: 0,
  corrected: 0,
  raised: 0,
  error
})

/** Ids are those which actors and shelves have, which an alert's may hold. */
const alertOf = ({ name }: Check, subject?: string): string =>
  subject === undefined ? `reconciliation:${name}` : `reconciliation:${name}:${subject}`.slice(0, 140)

const keyOf = (what: string, run: string, alert: string): string => `${what}:${run}:${alert}`.slice(0, 200)

const settledAfter = ({ schedules }: ReconciliationLimits): Duration.Duration =>
  schedules.reduce((least, one) => ("every" in one ? Duration.min(least, one.every) : least), settleFor)

/** The latest time of a schedule that has passed. */
export const latestOf = (now: DateTime.Utc, schedule: ReconciliationSchedule): DateTime.Utc => {
  const [period, offset] = "every" in schedule ? [schedule.every, Duration.zero] : [Duration.days(1), schedule.dailyAt]
  const [every, after] = [Duration.toMillis(period), Duration.toMillis(offset)]
  return DateTime.makeUnsafe(Math.floor((now.epochMilliseconds - after) / every) * every + after)
}

const stopped = (why: unknown): Effect.Effect<boolean> =>
  Effect.as(Effect.logWarning("Reconciliation stopped half-way; it goes on later", why), false)

/** On one node at a time. For a moment two may think they are the one, when a node was cut off: then one overtakes the other. */
export const layer = (
  options: ReconciliationOptions
): Layer.Layer<never, never, Sharding.Sharding | SqlClient | Placement> =>
  Singleton.make(
    "Reconciliation",
    Effect.flatMap(Effect.all([make(options), Clock.currentTimeMillis]), ([{ once, schedule }, begun]) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        now - begun < Duration.toMillis(settledAfter(options)) ? once : Effect.andThen(schedule, once)
      ).pipe(
        Effect.catchTag("Overtaken", () => Effect.succeed(false)),
        // While the database is away this is told again and again.
        Effect.catchTag("SqlError", (error) => stopped(detailOf(error))),
        Effect.catchCause(stopped),
        Effect.flatMap((more) => (more ? Effect.void : Effect.sleep(options.pollInterval))),
        Effect.forever
      )
    )
  )
