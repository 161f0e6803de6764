/** Hosts actors: their contracts' commands become keyed units, their questions are answered from memory. */
import { Context, type DateTime, Effect, Layer, type Result } from "effect"
import type { Rpc } from "effect/rpc"
import { type AnyDefinition, type Cell, type CommandOf, type StateOf, type Timer } from "./Actor.ts"
import { Journal } from "./Journal.ts"
import { type AnyContract, type Messages, Placement } from "./Placement.ts"
import { Timers } from "./Timers.ts"
import { Unavailable } from "../domain/Refusals.ts"

type Keyed<R> = R extends Rpc.Any ? (Rpc.Payload<R> extends { readonly key: string } ? R : never) : never
type Question<R> = R extends Rpc.Any ? (Rpc.Payload<R> extends { readonly key: string } ? never : R) : never

export interface ActorOptions<D extends AnyDefinition, E extends AnyContract> {
  readonly definition: D
  /** Its type is the definition's; a message with a `key` is a command, one without is a question. */
  readonly contract: E
  /** What a caller gets to see of the state. */
  readonly reply: (state: StateOf<D>, id: string, version: number) => Rpc.Success<Keyed<Messages<E>>>
  readonly questions: {
    readonly [R in Question<Messages<E>> as R["_tag"]]: (
      state: StateOf<D>,
      payload: Rpc.Payload<R>,
      id: string,
      version: number
    ) => Result.Result<Rpc.Success<R>, Rpc.Error<R>>
  }
  /** The command which a timer's firing stands for; the firing is forgotten when there is none. */
  readonly wake?: (name: string, state: StateOf<D>) => CommandOf<D> | undefined
  /** The counters a command needs locked. */
  readonly counters?: (command: CommandOf<D>, state: StateOf<D>) => ReadonlyArray<string>
}

export class Actors extends Context.Service<
  Actors,
  {
    readonly host: <D extends AnyDefinition, E extends AnyContract>(options: ActorOptions<D, E>) => void
    /** The actor in memory, on the node that has it. */
    readonly cell: <D extends AnyDefinition>(definition: D, id: string) => Effect.Effect<Cell<D>, Unavailable>
    readonly cells: <const Ds extends ReadonlyArray<AnyDefinition>>(
      definitions: Ds,
      id: string
    ) => Effect.Effect<{ readonly [K in keyof Ds]: Cell<Ds[K]> }, Unavailable>
    /** Actors which only their own process makes, before it has: see `Journal.absent`. */
    readonly absent: <const Ds extends ReadonlyArray<AnyDefinition>>(
      definitions: Ds,
      id: string
    ) => { readonly [K in keyof Ds]: Cell<Ds[K]> }
  }
>()("cartwright/runtime/Actors") {}

export const make = Effect.gen(function* () {
  const journal = yield* Journal
  const placement = yield* Placement
  const timers = yield* Timers
  placement.serveChanges(journal.changed)
  placement.onLost((buckets) => journal.release(buckets))

  const cell = <D extends AnyDefinition>(definition: D, id: string) =>
    journal.cell(definition, id, placement.bucketOf(id))

  const host = (options: ActorOptions<AnyDefinition, AnyContract>) => {
    const { contract, definition } = options
    const questions = options.questions as unknown as Readonly<
      Record<
        string,
        ((state: unknown, payload: unknown, id: string, version: number) => Result.Result<unknown, unknown>) | undefined
      >
    >
    const handlers = [...contract.protocol.requests.keys()].map((tag) => {
      const question = questions[tag]
      if (question !== undefined) {
        return [
          tag,
          (id: string, payload: unknown) =>
            Effect.flatMap(cell(definition, id), (found) =>
              Effect.fromResult(question(found.state, payload, id, found.version))
            )
        ] as const
      }
      return [
        tag,
        (id: string, payload: unknown) => {
          const { key, ...content } = payload as { readonly key: string }
          const command = { _tag: tag, ...content }
          return Effect.flatMap(cell(definition, id), (found) =>
            journal
              .command({
                cell: found,
                key,
                command,
                cause: `command ${key}`,
                ...(options.counters === undefined ? {} : { counters: () => options.counters!(command, found.state) })
              })
              .pipe(Effect.map(({ state, version }) => options.reply(state, id, version)))
          )
        }
      ] as const
    })
    placement.serve(contract, Object.fromEntries(handlers) as never)
    if (options.counters === undefined && definition.counterChanges === undefined) journal.takesNotices(definition)
    if (options.wake !== undefined) {
      const wake = options.wake
      const isDue = ({ state }: Cell, name: string, dueAt: DateTime.Utc) => {
        const current: Readonly<Record<string, Timer>> = definition.timers?.(state) ?? {}
        return current[name]?.dueAt.epochMilliseconds === dueAt.epochMilliseconds
      }
      timers.onDue(
        definition.type,
        Effect.fnUntraced(function* (id, name, dueAt) {
          const found = yield* cell(definition, id)
          if (!isDue(found, name, dueAt)) {
            // An edit since it was read has moved it; or what is in memory is older, since another node has had the actor meanwhile.
            yield* journal.reread([found])
            if (!isDue(found, name, dueAt)) return
          }
          const command = wake(name, found.state)
          if (command === undefined) return
          yield* journal.command({
            cell: found,
            key: `timer:${name}:${dueAt.epochMilliseconds}`,
            command,
            cause: `timer ${name}`,
            ...(options.counters === undefined ? {} : { counters: () => options.counters!(command, found.state) })
          })
        })
      )
    }
  }

  return Actors.of({
    host: host as Actors["Service"]["host"],
    cell,
    cells: (definitions, id) => journal.cells(definitions, id, placement.bucketOf(id)),
    absent: (definitions, id) => journal.absent(definitions, id, placement.bucketOf(id))
  })
})

export const layer: Layer.Layer<Actors, never, Journal | Placement | Timers> = Layer.effect(Actors, make)
