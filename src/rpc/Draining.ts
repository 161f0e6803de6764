/** Whether this node is about to stop. It then refuses commands, ends streams, and is not ready; what is under way finishes. */
import { Context, Deferred, Effect, Layer } from "effect"

export class Draining extends Context.Service<
  Draining,
  {
    /** From here on there is no way back. */
    readonly begin: Effect.Effect<void>
    readonly hasBegun: Effect.Effect<boolean>
    /** Waits until it begins. */
    readonly begun: Effect.Effect<void>
  }
>()("cartwright/rpc/Draining") {
  static readonly layer: Layer.Layer<Draining> = Layer.effect(
    Draining,
    Effect.map(Deferred.make<void>(), (begun) =>
      Draining.of({
        begin: Effect.asVoid(Deferred.succeed(begun, undefined)),
        hasBegun: Deferred.isDone(begun),
        begun: Deferred.await(begun)
      })
    )
  )
}
