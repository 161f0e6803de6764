/** Says on each node how many alerts not every sink has accepted: a pager that is away cannot tell of itself. MET-21. */
import { Duration, Effect, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { AlertSeverity } from "../entities/alert/Alert.ts"

const unsent = Metric.gauge("alerts_unsent", { description: "Alerts which not every sink has accepted, up to 10000" })

/** More are counted as so many: they are looked at one by one. */
const countedMax = 10_000
const interval = Duration.seconds(15)
const timeLimit = Duration.seconds(5)

const decode = Schema.decodeUnknownEffect(
  Schema.Array(Schema.Struct({ severity: AlertSeverity, count: Schema.Finite }))
)

/** Counts once, by the index of those alone. */
export const measure = Effect.gen(function* () {
  const sql = yield* SqlClient
  const rows = yield* sql`
    select severity, count(*)::int as count
    from (select severity from ops.alerts where sent_at is null order by raised_at limit ${countedMax}) as unsent group by severity`.pipe(
    Effect.timeout(timeLimit),
    Effect.flatMap(decode)
  )
  for (const severity of AlertSeverity.literals) {
    const count = rows.find((row) => row.severity === severity)?.count ?? 0
    yield* Metric.update(Metric.withAttributes(unsent, { severity }), count)
  }
})

/** On every node, whose numbers are the same: whichever is asked knows it. */
export const layer: Layer.Layer<never, never, SqlClient> = Layer.effectDiscard(
  measure.pipe(
    // The last count stands until the database answers again.
    Effect.catchCause((cause) => Effect.logDebug("Unsent alerts are counted later", cause)),
    Effect.andThen(Effect.sleep(interval)),
    Effect.forever,
    Effect.forkScoped
  )
)
