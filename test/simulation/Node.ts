/** One node of a simulated cluster: the runtime as it is, on a simulated database and network. */
import { Context, Duration, Effect, Exit, Layer, Scope } from "effect"
import { Actors, layer as actorsLayer } from "../../src/runtime/Actors.ts"
import { Journal, layer as journalLayer } from "../../src/runtime/Journal.ts"
import { layer as noticesLayer, Notices } from "../../src/runtime/Notices.ts"
import { layer as placementLayer, Placement } from "../../src/runtime/Placement.ts"
import { Store } from "../../src/runtime/Store.ts"
import { layer as timersLayer, Timers } from "../../src/runtime/Timers.ts"
import { layerWith as workflowsLayer, type Workflows } from "../../src/runtime/WorkflowEngine.ts"
import type { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import type { CounterTable } from "../../src/runtime/Table.ts"
import type { Cluster } from "./Cluster.ts"
import type { Around, Database } from "./Database.ts"
import type { Process, World } from "./World.ts"

export type Services = Actors | Journal | Notices | Placement | Store | Timers | WorkflowEngine | Workflows

export interface NodeOptions {
  readonly counters: CounterTable
  readonly around: Around
  /** What it hosts. */
  readonly hosted: Layer.Layer<never, never, Services>
}

export class Node {
  readonly process: Process
  /** Absent while it starts. */
  context: Context.Context<Services> | undefined
  private readonly scope = Scope.makeUnsafe()

  constructor(world: World, name: string, database: Database, cluster: Cluster, options: NodeOptions) {
    this.process = world.start(name)
    const store = Layer.succeed(Store, options.around(database.open(this.process), name))
    const journal = journalLayer({
      counters: options.counters,
      batchMax: 16,
      queueMax: 200,
      residentMax: 12,
      retryFor: Duration.seconds(8)
    }).pipe(Layer.provideMerge(store))
    const placement = placementLayer({
      buckets: cluster.buckets,
      pollInterval: Duration.millis(200),
      callTimeout: Duration.seconds(4)
    }).pipe(Layer.provide(cluster.join(this.process)))
    const timers = timersLayer({ sweepInterval: Duration.seconds(1), concurrency: 4, page: 5 }).pipe(
      Layer.provideMerge(Layer.merge(journal, placement))
    )
    const notices = noticesLayer({
      attemptsMax: 10,
      backoff: Duration.millis(200),
      backoffMax: Duration.seconds(3),
      acknowledgeWithin: Duration.millis(100),
      sweepInterval: Duration.seconds(3),
      residentMax: 30
    })
    const engine = workflowsLayer({
      watchdog: Duration.seconds(10),
      awaitWithin: Duration.seconds(3),
      stopWithin: Duration.seconds(2)
    })
    const layer = options.hosted.pipe(
      Layer.provideMerge(Layer.mergeAll(actorsLayer, notices, engine).pipe(Layer.provideMerge(timers))),
      Layer.fresh
    )
    world.trace.add(name, "starts")
    this.process.run(Layer.buildWithScope(layer, this.scope), (exit) => {
      if (Exit.isSuccess(exit)) {
        this.context = exit.value
        world.trace.add(name, "is up")
      } else world.trace.add(name, `cannot start: ${String(exit.cause)}`)
    })
  }

  get name(): string {
    return this.process.name
  }

  /** As after SIGTERM: what is under way has a little time. `onExit` when it is through. */
  stop(onExit: () => void): void {
    this.context = undefined
    this.process.run(Scope.close(this.scope, Exit.void), onExit)
  }

  /** Runs an effect on it, as a caller of this node would have it run. */
  run<A, E>(effect: Effect.Effect<A, E, Services>, onExit: (exit: Exit.Exit<A, E>) => void): void {
    const { context } = this
    if (context !== undefined) this.process.run(Effect.provideContext(effect, context), onExit)
  }
}
