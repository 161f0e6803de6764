import { Deferred, Effect } from "effect"
import { type LoadedActor, Lost, type Rejected, type Store } from "./Store.ts"

type Load = Store["Service"]["load"]
type Actors = Parameters<Load>[0]

export interface LoadsTogetherOptions {
  /** Reads all of them with one statement. */
  readonly load: (actors: Actors) => Effect.Effect<ReadonlyArray<LoadedActor>, Lost | Rejected>
  /** Statements under way at once. */
  readonly atOnce: number
}

interface Reading {
  readonly actors: Actors
  readonly done: Deferred.Deferred<ReadonlyArray<LoadedActor>, Lost>
}

/** Actors which are read by one statement at the most. */
const actorsMax = 200

const closed = new Lost({ detail: "closed" })

/**
 * One statement reads many actors for hardly more than it reads one. So each read begins at once while few are under way; those which come
 * meanwhile wait for one of them to end, and go together. What it finds is never older than the call.
 */
export const loadsTogether = Effect.fnUntraced(function* ({ atOnce, load }: LoadsTogetherOptions) {
  const scope = yield* Effect.scope
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const waiting: Array<Reading> = []
  let underWay = 0

  const alone = ({ actors, done }: Reading) =>
    load(actors).pipe(
      Effect.mapError((error) => (error._tag === "Lost" ? error : new Lost({ detail: error.detail }))),
      Effect.exit,
      Effect.flatMap((exit) => Deferred.done(done, exit))
    )

  const together = (batch: ReadonlyArray<Reading>) =>
    load(batch.flatMap(({ actors }) => actors)).pipe(
      Effect.map((found) => {
        let from = 0
        for (const { actors, done } of batch) {
          Deferred.doneUnsafe(done, Effect.succeed(found.slice(from, from + actors.length)))
          from += actors.length
        }
      }),
      Effect.catchTags({
        Lost: (error) =>
          Effect.sync(() => {
            for (const { done } of batch) Deferred.doneUnsafe(done, Effect.fail(error))
          }),
        // One of them is what cannot be read: the others must not hear of it.
        Rejected: () => Effect.forEach(batch, alone, { discard: true })
      })
    )

  const next = () => {
    if (underWay === atOnce || waiting.length === 0) return
    let actors = 0
    const end = waiting.findIndex((one) => (actors += one.actors.length) > actorsMax)
    const batch = waiting.splice(0, end === -1 ? waiting.length : Math.max(1, end))
    underWay++
    const reading = batch.length === 1 ? alone(batch[0]!) : together(batch)
    runFork(
      reading.pipe(
        Effect.ensuring(
          Effect.sync(() => {
            for (const { done } of batch) Deferred.doneUnsafe(done, Effect.fail(closed))
            underWay--
            next()
          })
        ),
        Effect.forkIn(scope)
      )
    )
  }

  const loadSoon: Load = (actors) =>
    Effect.suspend(() => {
      const done = Deferred.makeUnsafe<ReadonlyArray<LoadedActor>, Lost>()
      waiting.push({ actors, done })
      next()
      return Deferred.await(done)
    })
  return loadSoon
})
