/** What holds for every actor, whatever it is about: after any history, and for anything that is stored. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Schema } from "effect"
import type { Rpc } from "effect/rpc"
import type { Tagged } from "../../src/runtime/Actor.ts"
import { Alert } from "../../src/entities/alert/Alert.ts"
import { Cart } from "../../src/entities/cart/Cart.ts"
import { FailedCompensation } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { SellerAccount } from "../../src/entities/sellerAccount/SellerAccount.ts"
import { type Entry, entryOf, historyOf, narrowed, play, sample } from "../fixtures/Histories.ts"
import { forgotten, type Machine, step } from "../fixtures/Machine.ts"
import { stored, written } from "../fixtures/StoredRow.ts"

/** A codec of something that is stored: toJson writes it, this reads it. */
const assertStored = <A>(schema: Schema.Codec<A, unknown>, value: A) => {
  const codec = Schema.toCodecJson(schema)
  const json = written(value)
  assert.deepStrictEqual(json, written(Schema.encodeSync(codec)(value)), "toJson and the codec differ")
  assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(json), value)
}

/** Who may get notices. */
const receivers: Readonly<Record<string, { readonly protocol: { readonly requests: ReadonlyMap<string, Rpc.Any> } }>> =
  {
    [Alert.type]: Alert,
    [FailedCompensation.type]: FailedCompensation,
    [Cart.type]: Cart,
    [SellerAccount.type]: SellerAccount
  }

export const laws = <State extends Tagged, Command extends Tagged, Event extends Tagged, Refusal extends Tagged>(
  machine: Machine<State, Command, Event, Refusal>,
  options: {
    readonly state: Schema.Codec<State, unknown>
    readonly command: Schema.Codec<Command, unknown>
    /** Statuses which nothing leads out of. */
    readonly final: ReadonlyArray<string>
    /** Commands each of which is a fact of its own: only its key tells a repetition from one more. */
    readonly counted?: ReadonlyArray<Command["_tag"]>
    /** Commands which end most stories. */
    readonly rare?: ReadonlyArray<Command["_tag"]>
    /** Statuses which are there for what is not built yet: no history leads to them. */
    readonly unreached?: ReadonlyArray<string>
    /** Commands of a history, where the usual number does not lead everywhere. */
    readonly length?: number
  }
): void => {
  const { definition, id, statusOf } = machine
  const { counted = [], final, rare = [], unreached = [] } = options
  const { table } = definition
  const entry = entryOf(options.command)
  const history = historyOf(options.command, {
    rare,
    ...(options.length === undefined ? {} : { length: options.length })
  })
  const last = (entries: ReadonlyArray<Entry<Command>>): State =>
    play(machine, entries).at(-1)?.state ?? definition.initial

  it("every status has a column, every command a row", () => {
    assert.deepStrictEqual(forgotten(machine), [])
  })

  describe("after any history", () => {
    it.prop("a command repeated at once changes nothing", [history, entry], ([past, next]) => {
      if (counted.includes(next.command._tag)) return
      const once = play(machine, [...past, next]).at(-1)!
      assert.deepStrictEqual(step(machine, once.state, once).state, once.state)
    })

    it.prop("a final status stays final", [history], ([past]) => {
      for (const { before, state } of play(machine, past)) {
        if (final.includes(statusOf(before))) assert.strictEqual(statusOf(state), statusOf(before))
      }
    })

    it.prop(
      "a refusal leaves everything as it was, and a success of an existing actor can be stored",
      [history],
      ([past]) => {
        for (const { before, refusal, state } of play(machine, past)) {
          if (refusal !== undefined) assert.strictEqual(state, before)
          else if (state._tag !== "Absent") table.toRow(state, id)
        }
      }
    )

    it.prop("the events alone lead to the same state", [history], ([past]) => {
      const events = play(machine, past).flatMap((taken) => taken.events)
      assert.deepStrictEqual(events.reduce(definition.evolve, definition.initial), last(past))
    })

    it.prop("what was decided is read back as it was written", [history], ([past]) => {
      for (const { events, refusal } of play(machine, past)) {
        for (const event of events) assertStored(definition.event, event)
        if (refusal !== undefined) assertStored(definition.refusal, refusal)
      }
    })

    it.prop("the row written at each step is read back as the state it was made of", [history], ([past]) => {
      let row: ReturnType<typeof stored> | undefined
      for (const { events, state } of play(machine, past)) {
        if (events.length === 0) continue
        row = stored(table, table.toRow(state, id), row)
        assert.deepStrictEqual(table.fromRow(row), state)
      }
    })

    it.prop("what is over is in a final status, and no command leads to an event", [history], ([past]) => {
      for (const { before, events, state } of play(machine, past)) {
        if (definition.over?.(state) === true) assert.include(final, statusOf(state))
        if (definition.over?.(before) === true) assert.deepStrictEqual(events, [])
      }
    })

    it.prop("no wake-up is pending in a final status, and none outlives its reason", [history], ([past]) => {
      for (const { state } of play(machine, past)) {
        const timers = definition.timers?.(state) ?? {}
        // Nothing happens to it any more but its end.
        if (final.includes(statusOf(state)))
          assert.deepStrictEqual(
            Object.keys(timers).filter((name) => name !== "retire"),
            []
          )
        for (const { dueAt } of Object.values(timers)) assert.isTrue(DateTime.isDateTime(dueAt))
      }
    })

    it.prop("each notice is a command which its receiver understands", [history], ([past]) => {
      for (const { events, before } of play(machine, past)) {
        let state = before
        for (const event of events) {
          const earlier = state
          state = definition.evolve(state, event)
          for (const { message, receiver } of definition.notices?.(event, state, id, earlier) ?? []) {
            const rpc = receivers[receiver.type]?.protocol.requests.get(message._tag) as Rpc.AnyWithProps | undefined
            assert(rpc !== undefined, `${receiver.type} knows no ${message._tag}`)
            const decode = Schema.decodeUnknownSync(
              Schema.toCodecJson(rpc.payloadSchema as Schema.Codec<object, unknown>)
            )
            const delivered: unknown = { ...(written(message) as object), key: "notice:Source:some-id:1:0" }
            const payload = decode(delivered)
            assert.deepStrictEqual({ ...payload, _tag: message._tag }, { ...message, key: "notice:Source:some-id:1:0" })
          }
        }
      }
    })

    it("histories like these come to every status and take every command", () => {
      const seen = new Set<string>()
      const taken = new Set<string>()
      for (const past of sample(history, 300)) {
        for (const { command, events, state } of play(machine, past)) {
          seen.add(statusOf(state))
          if (events.length > 0) taken.add(command._tag)
        }
      }
      assert.deepStrictEqual(
        machine.statuses.filter((status) => !seen.has(status) && statusOf(definition.initial) !== status),
        [...unreached]
      )
      assert.deepStrictEqual(
        machine.commandTags.filter((tag) => !taken.has(tag)),
        []
      )
    })
  })

  describe("whatever it is", () => {
    it.prop("an event is read back as it was written", [narrowed(definition.event)], ([event]) => {
      assertStored(definition.event, event)
    })

    it.prop("a refusal is read back as it was written", [narrowed(definition.refusal)], ([refusal]) => {
      assertStored(definition.refusal, refusal)
    })

    it.prop("a state is read back from its row, and from its JSON", [narrowed(options.state)], ([state]) => {
      assertStored(options.state, state)
      if (state._tag === "Absent") return
      assert.deepStrictEqual(table.fromRow(stored(table, table.toRow(state, id))), state)
    })
  })

  it("what does not exist has no row", () => {
    assert.throws(() => table.toRow(definition.initial, id))
  })
}

/** A table as it stands in a test, without its margin. */
export const table = (text: string): string =>
  text
    .trim()
    .split("\n")
    .map((row) => row.trim())
    .join("\n")
