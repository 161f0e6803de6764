/**
 * Tells each sink of each alert, on the alert's durable timers, until it has accepted it. What a sink was told twice, since its answer was
 * lost or a node died in between, it knows by the alert's id. REQ-ALR-01, REQ-CPN-03.
 */
import { DateTime, Effect, FiberSet, Metric, Semaphore } from "effect"
import { Alert, type RaisedAlert } from "../../entities/alert/Alert.ts"
import { type AlertDefinition, deliverTimer, retireTimer } from "../../entities/alert/AlertActor.ts"
import { type Command, nextAction } from "../../entities/alert/AlertDecider.ts"
import type { AlertSink } from "../../gateways/AlertSinks.ts"
import type { Cell } from "../../runtime/Actor.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { retire } from "../../runtime/Retirement.ts"
import { clear, Timers } from "../../runtime/Timers.ts"

/** Calls to one sink at once, so that one which is slow takes no more of a node than that. */
const concurrency = 4

const delivered = Metric.counter("alerts_total", { description: "Pages which a sink has accepted", incremental: true })
const failed = Metric.counter("alert_deliveries_failed_total", {
  description: "Attempts to tell a sink which came to nothing",
  incremental: true
})

export const serve = Effect.fnUntraced(function* (definition: AlertDefinition, sinks: ReadonlyArray<AlertSink>) {
  const actors = yield* Actors
  const journal = yield* Journal
  const timers = yield* Timers
  const fork = yield* FiberSet.makeRuntime()
  const permits = new Map(sinks.map(({ name }) => [name, Semaphore.makeUnsafe(concurrency)]))
  /** Deliveries which are under way: their timers come up again meanwhile. */
  const underWay = new Set<string>()

  const tell = (cell: Cell<AlertDefinition>, key: string, command: Command) =>
    journal.command({ cell, key, command, cause: `alert ${command._tag}` })

  const send = Effect.fnUntraced(function* (
    cell: Cell<AlertDefinition>,
    state: RaisedAlert,
    sink: AlertSink,
    action: NonNullable<ReturnType<typeof nextAction>>
  ) {
    const { details, kind, page, raisedAt, raises, severity, summary } = state
    const delivery = { sink: sink.name, page, action }
    const name = `${sink.name}:${page}:${action}:${raises}`
    const attributes = { sink: sink.name, severity }
    yield* sink.send({ id: cell.id, action, page, kind, severity, summary, details, raises, raisedAt }).pipe(
      Effect.matchEffect({
        onSuccess: () =>
          Effect.andThen(
            Metric.update(Metric.withAttributes(delivered, { ...attributes, action }), 1),
            tell(cell, `delivered:${name}`, { _tag: "Delivered", ...delivery })
          ),
        onFailure: Effect.fnUntraced(function* ({ error, retryAfter }) {
          const attempts = state.sinks.find((one) => one.sink === sink.name)?.attempts ?? 0
          yield* Metric.update(Metric.withAttributes(failed, attributes), 1)
          yield* Effect.logWarning(`Alert ${cell.id} was not accepted by ${sink.name}: ${error}`)
          const notBefore =
            retryAfter === undefined ? {} : { notBefore: DateTime.addDuration(yield* DateTime.now, retryAfter) }
          return yield* tell(cell, `failed:${name}:${attempts}`, {
            _tag: "DeliveryFailed",
            ...delivery,
            error,
            ...notBefore
          })
        })
      })
    )
  })

  const deliver = Effect.fnUntraced(function* (id: string, timer: string) {
    const name = timer.slice(deliverTimer.length)
    const cell = yield* actors.cell(definition, id)
    const { state } = cell
    const action = state._tag === "Absent" ? undefined : nextAction(state, name)
    if (state._tag === "Absent" || action === undefined) {
      return yield* journal.unit<void>({
        cells: [],
        cause: "an alert has nothing to tell",
        body: ({ write }) => write(clear, { actor_id: id, actor_type: Alert.type, name: timer })
      })
    }
    const sink = sinks.find((one) => one.name === name)
    if (sink === undefined) return yield* tell(cell, `forget:${name}:${state.page}`, { _tag: "Forget", sink: name })
    return yield* permits.get(name)!.withPermits(1)(send(cell, state, sink, action))
  })

  timers.onDue(Alert.type, (id, timer) => {
    if (timer === retireTimer) {
      return Effect.flatMap(actors.cell(definition, id), (cell) =>
        cell.state._tag === "Cleared" ? retire(journal, cell, retireTimer) : Effect.void
      )
    }
    // A sink which does not answer must not hold up the timers of orders: its calls are made beside them.
    return Effect.sync(() => {
      const address = `${id} ${timer}`
      if (underWay.has(address)) return
      underWay.add(address)
      fork(
        deliver(id, timer).pipe(
          // The timer is still there, and comes up again.
          Effect.catchCause((cause) => Effect.logDebug(`Alert ${id} is told later`, cause)),
          Effect.ensuring(Effect.sync(() => underWay.delete(address)))
        )
      )
    })
  })
})
