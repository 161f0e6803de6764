/** What clients have said and heard, and when: all that the checks believe of the shop's behaviour. */
import { Cause, Clock, Effect, Exit, Option } from "effect"
import { percentile } from "../bench/Results.ts"
import type { StorefrontCalls } from "../src/client/OrdersClient.ts"
import { Api } from "../src/rpc/Api.ts"
import { toJson } from "../src/runtime/Table.ts"

export type Answer =
  /** `content` is the answer as JSON. */
  | { readonly _tag: "Success"; readonly content: unknown }
  | { readonly _tag: "Refusal"; readonly code: string; readonly content: unknown }
  /** The client died of it: a fault of ours. */
  | { readonly _tag: "Died"; readonly cause: string }

export interface Call {
  readonly operation: string
  /** Of its checkout or cart. */
  readonly subject: string
  readonly key: string | undefined
  readonly input: unknown
  /** Milliseconds since the epoch, by the harness's clock, which nobody shifts. */
  readonly from: number
  /** Absent while nobody has answered; so it stays when the caller was told to give up. */
  to?: number
  answer?: Answer
}

/** Grows as long as the run goes on. */
export type History = Array<Call>

type Operation = (input: object, settings?: unknown) => Effect.Effect<unknown, unknown>

/** The same calls, each with a key of its own where it takes one, and each written down. */
export const recorded = (history: History, calls: StorefrontCalls, freshKey: () => string): StorefrontCalls => {
  const operations = Object.entries(calls as unknown as Readonly<Record<string, Operation>>)
  const wrapped = operations.map(([name, operation]) => [
    name,
    requests.has(name) ? record(history, name, operation, freshKey) : operation
  ])
  return Object.fromEntries(wrapped) as StorefrontCalls
}

const record =
  (history: History, name: string, operation: Operation, freshKey: () => string): Operation =>
  (given, settings) =>
    Effect.gen(function* () {
      const input = requests.get(name) === true && !("key" in given) ? { ...given, key: freshKey() } : given
      const call: Call = {
        operation: name,
        subject: "checkoutId" in input ? String(input.checkoutId) : "cartId" in input ? String(input.cartId) : "",
        key: "key" in input ? String(input.key) : undefined,
        input,
        from: yield* Clock.currentTimeMillis
      }
      history.push(call)
      const exit = yield* Effect.exit(operation(input, settings))
      const answer = answerOf(exit)
      if (answer !== undefined) {
        call.to = yield* Clock.currentTimeMillis
        call.answer = answer
      }
      return yield* exit
    })

/** Nothing where the call was interrupted. */
const answerOf = (exit: Exit.Exit<unknown, unknown>): Answer | undefined => {
  if (Exit.isSuccess(exit)) return { _tag: "Success", content: plain(exit.value) }
  if (Cause.hasInterruptsOnly(exit.cause)) return undefined
  const failure = Cause.findErrorOption(exit.cause)
  if (Option.isNone(failure)) return { _tag: "Died", cause: Cause.pretty(exit.cause) }
  return { _tag: "Refusal", code: codeOf(failure.value), content: plain(failure.value) }
}

const codeOf = (failure: unknown): string =>
  typeof failure === "object" && failure !== null && "_tag" in failure ? String(failure._tag) : String(failure)

const plain = (value: unknown): unknown => JSON.parse(toJson(value) ?? "null")

/** Every operation with one answer, and whether it takes a key. */
const requests: ReadonlyMap<string, boolean> = new Map(
  Array.from(Api.requests.values())
    .filter(({ _tag }) => _tag !== "WatchOrder")
    .map(({ _tag, payloadSchema }) => [_tag, "fields" in payloadSchema && "key" in (payloadSchema.fields as object)])
)

/** Answers which say nothing of what became of the command, or that it is too early to say. */
const undecided: ReadonlySet<string> = new Set([
  "InternalError",
  "RateLimited",
  "RequestTimeout",
  "TokenUnavailable",
  "Unavailable",
  "Unreachable"
])

/** Whether the caller knows more than before: any word of the shop about the matter itself. */
export const isProgress = (answer: Answer): boolean =>
  answer._tag === "Success" || (answer._tag === "Refusal" && !undecided.has(answer.code))

export interface Takeover {
  /** What happened, as in the timeline. */
  readonly what: string
  readonly atMs: number
  /** Confirmations which nobody had answered at that instant. */
  readonly inFlight: number
  /** From then to the first word about each of them, sorted; those nobody has heard of again are missing. */
  readonly milliseconds: ReadonlyArray<number>
}

/** How long those whose confirmation was under way at an instant waited to hear of it. */
export const takeoverAt = (history: History, what: string, atMs: number): Takeover => {
  const open = new Set(
    history.flatMap(({ from, operation, subject, to }) =>
      operation === "ConfirmCheckout" && from < atMs && (to === undefined || to >= atMs) ? [subject] : []
    )
  )
  const heardAt = new Map<string, number>()
  for (const { answer, subject, to } of history) {
    if (to === undefined || answer === undefined || to < atMs || !open.has(subject) || !isProgress(answer)) continue
    heardAt.set(subject, Math.min(to, heardAt.get(subject) ?? Infinity))
  }
  return {
    what,
    atMs,
    inFlight: open.size,
    milliseconds: [...heardAt.values()].map((at) => at - atMs).toSorted((left, right) => left - right)
  }
}

/** What clients heard between two instants. */
export interface Phase {
  readonly name: string
  readonly fromMs: number
  readonly toMs: number
}

export interface Throughput extends Phase {
  readonly confirmed: number
  readonly calls: number
  /** Of confirmations that were answered. */
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export const throughputIn = (history: History, phase: Phase): Throughput => {
  const within = history.filter(({ to }) => to !== undefined && to >= phase.fromMs && to < phase.toMs)
  const answered = within.filter(({ answer, operation }) => operation === "ConfirmCheckout" && isProgress(answer!))
  const milliseconds = answered.map(({ from, to }) => to! - from).toSorted((left, right) => left - right)
  return {
    ...phase,
    confirmed: answered.filter(({ answer }) => isConfirmation(answer)).length,
    calls: within.length,
    p50: percentile(milliseconds, 0.5),
    p99: percentile(milliseconds, 0.99),
    max: milliseconds.at(-1) ?? 0
  }
}

/** What a confirmed buyer was told; nothing for any other answer. */
export const confirmationIn = (
  answer: Answer | undefined
): { readonly orderId: string; readonly amount: string; readonly currency: string } | undefined => {
  if (answer?._tag !== "Success") return undefined
  const content = answer.content as Readonly<Record<string, unknown>> | null
  if (content?.["_tag"] !== "Confirmed") return undefined
  const total = content["total"] as Readonly<Record<string, unknown>>
  return { orderId: String(content["orderId"]), amount: String(total["amount"]), currency: String(total["currency"]) }
}

const isConfirmation = (answer: Answer | undefined): boolean => confirmationIn(answer) !== undefined
