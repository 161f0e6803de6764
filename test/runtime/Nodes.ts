/** Whole nodes on one store: journal, placement, timers, notices and actors, as many as a test needs, each with the buckets it is given. */
import { Context, Duration, Effect, Exit, Layer, Scope } from "effect"
import type { Sharding } from "effect/cluster"
import * as Actors from "../../src/runtime/Actors.ts"
import * as Journal from "../../src/runtime/Journal.ts"
import * as Notices from "../../src/runtime/Notices.ts"
import * as Placement from "../../src/runtime/Placement.ts"
import { Store } from "../../src/runtime/Store.ts"
import * as Timers from "../../src/runtime/Timers.ts"
import { makeSwitchboard } from "../fixtures/Runtime.ts"
import { accountHosting, bins, watcherHosting } from "./Account.ts"

export const buckets = 8

export type Services = Actors.Actors | Journal.Journal | Notices.Notices | Placement.Placement | Timers.Timers

export interface NodeOptions {
  readonly timers?: Partial<Timers.TimersOptions>
  readonly notices?: Partial<Notices.NoticesOptions>
  readonly callTimeout?: Duration.Duration
  /** Whether it hosts accounts and watchers at once; otherwise the test does. */
  readonly hosting?: boolean
}

export interface Node {
  readonly context: Context.Context<Services>
  readonly journal: Journal.Journal["Service"]
  readonly placement: Placement.Placement["Service"]
  readonly timers: Timers.Timers["Service"]
  readonly notices: Notices.Notices["Service"]
  readonly actors: Actors.Actors["Service"]
  readonly stop: Effect.Effect<void>
}

/** Hosts the toys on a node. */
export const hostToys = (actors: Actors.Actors["Service"]) => {
  actors.host(accountHosting)
  actors.host(watcherHosting)
}

export const startNode = Effect.fnUntraced(function* (
  store: Store["Service"],
  sharding: Layer.Layer<Sharding.Sharding>,
  options: NodeOptions = {}
) {
  const journal = Journal.layer({
    counters: bins,
    batchMax: 256,
    queueMax: 1000,
    residentMax: 1000,
    retryFor: Duration.seconds(2)
  }).pipe(Layer.provide(Layer.succeed(Store, store)))
  const placement = Placement.layer({
    buckets,
    pollInterval: Duration.millis(20),
    callTimeout: options.callTimeout ?? Duration.seconds(2)
  }).pipe(Layer.provide(sharding))
  const timers = Timers.layer({
    sweepInterval: Duration.seconds(1),
    concurrency: 10,
    page: 100,
    ...options.timers
  })
  const notices = Notices.layer({
    attemptsMax: 3,
    backoff: Duration.seconds(1),
    backoffMax: Duration.minutes(5),
    acknowledgeWithin: Duration.millis(20),
    sweepInterval: Duration.seconds(5),
    ...options.notices
  })
  const scope = yield* Scope.make()
  const context: Context.Context<Services> = yield* Layer.merge(Actors.layer, notices).pipe(
    Layer.provideMerge(timers),
    Layer.provideMerge(Layer.merge(journal, placement)),
    Layer.provide(Layer.succeed(Store, store)),
    Layer.fresh,
    Layer.buildWithScope(scope)
  )
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const node: Node = {
    context,
    journal: Context.get(context, Journal.Journal),
    placement: Context.get(context, Placement.Placement),
    timers: Context.get(context, Timers.Timers),
    notices: Context.get(context, Notices.Notices),
    actors: Context.get(context, Actors.Actors),
    stop: Scope.close(scope, Exit.void)
  }
  if (options.hosting !== false) hostToys(node.actors)
  return node
})

/** A node on its store which has every bucket. */
export const startAlone = (store: Store["Service"], options: NodeOptions = {}) =>
  startNode(store, makeSwitchboard(() => "alone").sharding("alone"), options)
