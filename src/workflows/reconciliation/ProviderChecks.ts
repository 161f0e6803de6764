/**
 * Payments beside the provider's intents, both ways: each intent in the provider's list beside our payment, then each of our payments which
 * that list has not told of. What looks different is reviewed on the payment's own node. REQ-REC-02, REQ-REC-03.
 */
import { DateTime, Duration, Effect, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { hashedReference } from "../../domain/SecretHash.ts"
import { IntentReference, type SagaState } from "../../entities/payment/Payment.ts"
import { type Intent, type ListedIntent, PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Placement } from "../../runtime/Placement.ts"
import type { Check, Finding, Page, Run } from "./Check.ts"
import { MoneyReview, type MoneyReviewed } from "./MoneyReview.ts"
import { judge, type Standing } from "./MoneyRules.ts"
import { withinStatementLimit } from "./StatementLimit.ts"

export interface ProviderCheckLimits {
  /** How far back the provider's list is read. */
  readonly window: Duration.Duration
  /** What is younger is left alone: its checkout may be under way. */
  readonly grace: Duration.Duration
  /** A payment or confirmation which has not moved for so long is looked up. REQ-REC-03. */
  readonly stuckAfter: Duration.Duration
}

/** A review may take as long as a call to the provider, a refund, and the end of what others begin. */
const reviewWithin = Duration.seconds(60)

/** So many payments of a run may be left unlooked at before its check is given up. */
const failuresMax = 10

interface Row {
  readonly id: string
  readonly intent: string | null
  readonly saga: SagaState | null
  readonly amount: string | null
  readonly captured: string | null
  readonly refunded: string | null
  readonly pending: string | null
  readonly waiting: boolean
  readonly confirming: boolean
  readonly order: Standing["order"]
  readonly recorded: boolean
}

const standing = `
  select s.id, p.intent, p.saga_state as saga, p.amount::text as amount, p.captured::text as captured, p.refunded::text as refunded,
    p.refund_pending::text as pending, coalesce(p.saga_state = 'none' and p.next_attempt_at is not null, false) as waiting,
    s.status = 'confirming' as confirming,
    case when o.id is null then 'none' when o.status in ('cancelled', 'failed') then 'over' else 'living' end as "order",
    exists (select from payment.failed_compensations f where f.order_id = s.id and f.status <> 'resolved') as recorded
  from checkout.sessions s left join payment.payments p on p.id = s.id left join orders.orders o on o.id = s.id
  where s.id = any($1::text[])`

const standingOf = (row: Row): Standing => ({
  intent: row.intent ?? undefined,
  saga: row.saga ?? "none",
  amount: BigInt(row.amount ?? 0),
  captured: BigInt(row.captured ?? 0),
  refunded: BigInt(row.refunded ?? 0),
  refundPending: BigInt(row.pending ?? 0),
  waiting: row.waiting,
  confirming: row.confirming,
  order: row.order,
  recorded: row.recorded
})

const amountOf = (intent: Intent): bigint =>
  intent._tag === "Authorized" || intent._tag === "Captured" ? intent.amount : 0n

const holdsMoney = (intent: Intent): boolean =>
  intent._tag === "Authorized" || (intent._tag === "Captured" && intent.amount > intent.refunded)

const bounds = ({ askedAt }: Run, { grace, window }: ProviderCheckLimits) => ({
  from: DateTime.subtractDuration(askedAt, window),
  before: DateTime.subtractDuration(askedAt, grace)
})

export const make = Effect.fnUntraced(function* (limits: ProviderCheckLimits) {
  const sql = yield* SqlClient
  const gateway = yield* PaymentGateway
  const reviews = (yield* Placement).client(MoneyReview, { timeout: reviewWithin })

  /** Reviews in vain, of the run which is under way. */
  let vain = { run: "", reviews: 0 }

  /** The finding stands before anything is done about it, so that the report tells of it whatever happens meanwhile. */
  const reviewed = Effect.fnUntraced(function* (
    run: Run,
    name: string,
    suspect: {
      readonly id: string
      readonly listed?: ListedIntent
      readonly other: boolean
      readonly stuck: boolean
    }
  ) {
    const { id, listed, other, stuck } = suspect
    const reference = listed === undefined ? undefined : Redacted.value(listed.intent.id)
    const subject = other && reference !== undefined ? `${id}:${hashedReference(reference).slice(-12)}` : id
    const now = DateTime.toDateUtc(yield* DateTime.now)
    const fresh = yield* sql`
      insert into ops.reconciliation_findings (reconciliation_id, check_name, subject, outcome, text, at)
      select r.id, ${name}, ${subject}, 'open', 'is looked into', ${now}::timestamptz from ops.reconciliations r where r.id = ${run.id}
      on conflict do nothing returning seq`
    const { text = "", verdict } = yield* reviews(id)
      .Review({
        stuck,
        ...(reference === undefined ? {} : { intent: IntentReference.make(reference), currency: listed!.currency })
      })
      .pipe(
        Effect.retry({ times: 2, schedule: Schedule.exponential("500 millis", 3) }),
        // One which cannot be looked into keeps nobody from the others; many are the provider's trouble, or ours.
        Effect.catch((error) => {
          vain = { run: run.id, reviews: (vain.run === run.id ? vain.reviews : 0) + 1 }
          if (vain.reviews > failuresMax) {
            vain = { run: run.id, reviews: 0 }
            return Effect.fail(error)
          }
          return Effect.succeed<MoneyReviewed>({
            verdict: "raised",
            text: `it could not be looked into (${error._tag})`
          })
        })
      )
    const nothing = verdict === "sound" || verdict === "under_way"
    if (nothing && fresh.length > 0) {
      yield* sql`
        delete from ops.reconciliation_findings
        where reconciliation_id = ${run.id} and check_name = ${name} and subject = ${subject} and outcome = 'open'`
      return undefined
    }
    const finding: Finding = {
      subject,
      outcome: nothing || verdict === "corrected" ? "corrected" : "raised",
      text: nothing ? rightBefore : verdict === "left" ? `${text}; it is not given back yet` : text,
      orderId: id,
      ...(listed === undefined || reference === undefined
        ? {}
        : {
            amount: amountOf(listed.intent),
            currency: listed.currency,
            authorization: hashedReference(reference)
          })
    }
    return finding
  })

  /** A page which is looked at again covers the same: what a dead node had begun and is no suspect any more was put right by it. */
  const closeBegun = (run: Run, name: string, findings: ReadonlyArray<Finding>) => sql`
    update ops.reconciliation_findings set outcome = 'corrected', text = ${rightBefore}
    where reconciliation_id = ${run.id} and check_name = ${name} and outcome = 'open'
      and not subject = any(${findings.map(({ subject }) => subject)}::text[])`

  const isId = (text: string): boolean => /^[A-Za-z0-9_-]{8,64}$/.test(text)

  /** An account may be another shop's, too: what nobody here has ever heard of is not touched. */
  const stranger = ({ currency, intent }: ListedIntent): Finding => {
    const authorization = hashedReference(Redacted.value(intent.id))
    return {
      subject: authorization.slice("sha256:".length),
      outcome: "raised",
      text: "the provider has money for a checkout which is not known here",
      amount: amountOf(intent),
      currency,
      authorization
    }
  }

  const listed: Check = {
    group: "provider",
    name: "provider",
    severity: "critical",
    about: "a payment is not what the provider has of it",
    alerts: "each",
    page: Effect.fn("ProviderChecks.listed")(function* (run, place) {
      const { intents, next } = yield* gateway.list({
        ...bounds(run, limits),
        ...(place === undefined ? {} : { after: Redacted.make(place, { label: "authorization" }) })
      })
      const own = intents.filter(({ checkoutId }) => checkoutId !== undefined && isId(checkoutId))
      const ids = [...new Set(own.map(({ checkoutId }) => checkoutId!))]
      const rows = yield* withinStatementLimit(sql, sql.unsafe<Row>(standing, [ids]))
      const known = new Map(rows.map((row) => [row.id, standingOf(row)]))
      const findings: Array<Finding> = []
      const seen: Array<string> = []
      for (const one of own) {
        const id = one.checkoutId!
        const reference = Redacted.value(one.intent.id)
        const ours = known.get(id)
        if (ours === undefined) {
          if (holdsMoney(one.intent)) findings.push(stranger(one))
          continue
        }
        if (ours.intent === reference) seen.push(id)
        const { _tag } = judge(ours, reference, one.intent)
        if (_tag === "Sound" || _tag === "UnderWay") continue
        const other = ours.intent !== reference
        const finding = yield* reviewed(run, "provider", { id, listed: one, other, stuck: false })
        if (finding !== undefined) findings.push(finding)
      }
      yield* closeBegun(run, "provider", findings)
      yield* sql`
        insert into ops.reconciliation_seen (reconciliation_id, payment_id)
        select r.id, x from ops.reconciliations r, unnest(${seen}::text[]) x where r.id = ${run.id} on conflict do nothing`
      const page: Page = {
        examined: intents.length,
        findings,
        next: next === undefined ? undefined : Redacted.value(next)
      }
      return page
    })
  }

  const unlisted: Check = {
    group: "provider",
    name: "provider_missing",
    severity: "critical",
    about: "a payment is not what the provider says of it",
    alerts: "each",
    page: Effect.fn("ProviderChecks.unlisted")(function* (run, place = "") {
      const { before, from } = bounds(run, limits)
      const [row] = yield* withinStatementLimit(
        sql,
        sql.unsafe<{ readonly examined: number; readonly last: string | null; readonly ids: ReadonlyArray<string> }>(
          `with page as materialized (select id, intent, created_at from payment.payments where id > $1 order by id limit $2)
           select (select count(*)::int from page) as examined, (select max(id) from page) as last,
             (select coalesce(jsonb_agg(p.id order by p.id), '[]') from page p
               where p.intent is not null and p.created_at >= $3::timestamptz and p.created_at < $4::timestamptz
                 and not exists (select from ops.reconciliation_seen x where x.reconciliation_id = $5 and x.payment_id = p.id)) as ids`,
          [place, run.limit, DateTime.formatIso(from), DateTime.formatIso(before), run.id]
        )
      )
      const findings: Array<Finding> = []
      for (const id of row?.ids ?? []) {
        const finding = yield* reviewed(run, "provider_missing", { id, other: false, stuck: false })
        if (finding !== undefined) findings.push(finding)
      }
      yield* closeBegun(run, "provider_missing", findings)
      return pageAfter(row, findings, run)
    })
  }

  const stuck: Check = {
    group: "payments",
    name: "payment_stuck",
    severity: "warning",
    about: "a payment had not moved for minutes",
    alerts: "each",
    page: Effect.fn("ProviderChecks.stuck")(function* (run, place = "") {
      const since = DateTime.formatIso(DateTime.subtractDuration(run.askedAt, limits.stuckAfter))
      const rows = yield* withinStatementLimit(
        sql,
        sql.unsafe<{ readonly id: string }>(
          `select id from (
             select id from checkout.sessions where status = 'confirming' and confirming_since < $1::timestamptz
             union
             select id from payment.payments where updated_at < $1::timestamptz
               and (saga_state in ('capture_pending', 'capture_failed') or saga_state = 'authorized' and capture_mode is distinct from 'deferred')
           ) x where id > $2 order by id limit $3`,
          [since, place, run.limit]
        )
      )
      const findings: Array<Finding> = []
      for (const { id } of rows) {
        const finding = yield* reviewed(run, "payment_stuck", { id, other: false, stuck: true })
        if (finding !== undefined) findings.push(finding)
      }
      yield* closeBegun(run, "payment_stuck", findings)
      return pageAfter({ examined: rows.length, last: rows.at(-1)?.id ?? null }, findings, run)
    })
  }

  return [stuck, listed, unlisted]
})

const rightBefore = "put right before its node ended"

const pageAfter = (
  row: { readonly examined: number; readonly last: string | null } | undefined,
  findings: ReadonlyArray<Finding>,
  { limit }: Run
): Page => ({
  examined: row?.examined ?? 0,
  findings,
  next: row === undefined || row.examined < limit || row.last === null ? undefined : row.last
})
