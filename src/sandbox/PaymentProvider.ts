/**
 * The payment provider of the sandbox without its network: takes requests as the provider's API has them, and answers, stays silent or
 * hangs up. It keeps what really happened apart from what was asked, so that a test can see a double charge. Kept in memory.
 *
 * Keys are treated as the provider's manual says: the first answer is stored whatever it was and given again for 24 hours; a request
 * which fails validation, or meets another one on the same intent, stores nothing.
 */
import { randomUUID } from "node:crypto"
import { Clock, Context, Effect, FiberSet, Layer, Result } from "effect"
import type { Scope } from "effect"
import { makeFaultBook } from "./Faults.ts"
import type { Fault, FaultBook } from "./Faults.ts"
import { listOf, textOf, textsOf } from "./FormBody.ts"
import type { Params } from "./FormBody.ts"
import { fingerprintOf, makeIdempotencyKeys } from "./IdempotencyKeys.ts"
import * as IntentRules from "./IntentRules.ts"
import type { Decision, Dispute, EventName, Intent, Movement, ProviderError, Refund } from "./IntentRules.ts"
import { makeLedger } from "./Ledger.ts"
import type { Account, Ledger } from "./Ledger.ts"
import * as Errors from "./ProviderErrors.ts"
import {
  findCardProblem,
  findUnknownParameter,
  matchesList,
  pageOf,
  readTerms,
  routeOf,
  wholeNumber
} from "./Requests.ts"
import type { Route } from "./Requests.ts"
import { parseSearch } from "./SearchQuery.ts"
import type { Content } from "./StripeObjects.ts"
import { findTestToken } from "./TestTokens.ts"
import { readTransfer, type Transfer } from "./Transfers.ts"

export interface ProviderRequest {
  readonly method: "GET" | "POST"
  /** Without the query, e.g. `/v1/payment_intents`. */
  readonly path: string
  readonly params: Params
  readonly key: string | undefined
  /** Browsers have a publishable key, which lets them see and confirm an intent whose client secret they know. */
  readonly credential: "secret" | "publishable"
}

/** How a request ends for the one who sent it. */
export type Ending =
  | { readonly _tag: "Answered"; readonly answer: Answer }
  /** 503 by something which stands before the API and speaks no JSON. */
  | { readonly _tag: "Unavailable" }
  /** The connection is cut after the request was read. */
  | { readonly _tag: "Cut" }
  /** Nothing ever comes. */
  | { readonly _tag: "Silent" }
  /** The request never arrives: connections are refused. */
  | { readonly _tag: "Down" }

export interface Answer {
  readonly status: number
  readonly content: Content
  /** Given before, for the same key. */
  readonly replayed: boolean
  readonly retryAfterSeconds?: number
}

/** One carried out request, complete enough to find the provider's state again. */
export interface Change {
  readonly at: number
  readonly intent: Intent | undefined
  readonly movements: ReadonlyArray<Movement>
  readonly refund: Refund | undefined
  readonly dispute?: Dispute
  readonly transfer?: Transfer
  readonly stored: { readonly key: string; readonly fingerprint: number; readonly answer: Answer } | undefined
  /** The webhooks which tell of it. */
  readonly events: ReadonlyArray<EventName>
}

export interface ProviderObserver {
  /** `token`: the card which the intent was last tried with. */
  readonly changed?: (change: Change, token: string | undefined) => void
  readonly reset?: () => void
  /** Goes down, for so many milliseconds. */
  readonly down?: (milliseconds: number) => void
}

export class PaymentProvider extends Context.Service<
  PaymentProvider,
  {
    /** Works through a request and calls back once, at once unless a fault delays it. */
    readonly handle: (request: ProviderRequest, done: (ending: Ending) => void) => void
    readonly ledger: Ledger
    /** What was really sent to sellers' accounts, oldest first. */
    readonly transfers: () => ReadonlyArray<Transfer>
    readonly faults: Pick<FaultBook, "inject" | "clear" | "pending">
    /** What the customer does on the page where they prove who they are. Undefined for an unknown intent. */
    readonly authenticate: (
      id: string,
      passed: boolean
    ) => { readonly intent: Intent; readonly accepted: boolean } | undefined
    /** The customer goes to their bank about a captured payment, for all of it unless told otherwise. Undefined when there is nothing to dispute. */
    readonly dispute: (
      intentId: string,
      options?: { readonly amount?: number; readonly reason?: string }
    ) => Dispute | undefined
    /** The bank has decided, for the shop or against it. Undefined when there is no such dispute, or not any more. */
    readonly closeDispute: (id: string, outcome: "won" | "lost") => Dispute | undefined
    /** Forgets everything. */
    readonly reset: () => void
    /** Takes over what another provider recorded. Its changes are not recorded or told again. */
    readonly restore: (change: Change) => void
    /** Hears of every change from now on. */
    readonly observe: (observer: ProviderObserver) => void
    /** Nobody is to be reached now. */
    readonly isDown: () => boolean
  }
>()("cartwright/sandbox/PaymentProvider") {
  static readonly layer = Layer.effect(
    PaymentProvider,
    Effect.suspend(() => make())
  )
}

/** How long a write waits for another one on the same intent before it is turned away. */
const lockWait = 2_000

/** Searches see changes this much later; the provider says up to a minute. */
const searchLag = 1_000

type PaymentProviderService = PaymentProvider["Service"]

const make = Effect.fnUntraced(function* (): Effect.fn.Return<PaymentProviderService, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime()
  const now = (): number => clock.currentTimeMillisUnsafe()
  const later = (milliseconds: number, then: () => void): void => {
    run(Effect.andThen(Effect.sleep(milliseconds), Effect.sync(then)))
  }
  return makeProvider({ now, later })
})

/** What carrying a request out came to; an invalid one was not begun. */
type Outcome =
  | { readonly _tag: "Invalid"; readonly error: ProviderError }
  | {
      readonly _tag: "Performed"
      readonly answer: Answer
      readonly change: Pick<Change, "intent" | "movements" | "refund" | "transfer" | "events">
      /** What the card has happen next. */
      readonly afterwards?: () => void
    }

const makeProvider = (time: {
  readonly now: () => number
  readonly later: (milliseconds: number, then: () => void) => void
}): PaymentProviderService => {
  const { accounts, order, ledger, count, recordMovements, openAccount, clear } = makeLedger()
  const faults = makeFaultBook()
  const keys = makeIdempotencyKeys<Answer>()
  const refunds = new Map<string, Refund>()
  const disputes = new Map<string, Dispute>()
  const transfers = new Map<string, Transfer>()
  /** Intents with a write under way, and the writes which wait for it. */
  const locks = new Map<string, Array<() => void>>()
  const observers: Array<ProviderObserver> = []
  let downUntil = 0

  const goDownFor = (milliseconds: number): void => {
    downUntil = time.now() + milliseconds
    for (const observer of observers) observer.down?.(milliseconds)
  }

  const handle = (request: ProviderRequest, done: (ending: Ending) => void): void => {
    if (time.now() < downUntil) return done({ _tag: "Down" })
    const route = routeOf(request.method, request.path)
    if (route === undefined) return done(refuse(Errors.unknownUrl(request.method, request.path)))
    const account = accounts.get(route.id ?? textOf(request.params["payment_intent"]) ?? "")
    count(route.operation, account)
    const fault = takeFault(route, request, account)
    switch (fault?._tag) {
      case "Down":
        goDownFor(fault.ms)
        return done({ _tag: "Down" })
      case "Unavailable":
        return done({ _tag: "Unavailable" })
      case "RateLimited":
        return done(refuse(Errors.tooManyRequests, fault.retryAfterSeconds))
      case "Reset":
        if (!fault.done) return done({ _tag: "Cut" })
        break
      case "Silence":
        if (!fault.done) return done({ _tag: "Silent" })
    }
    const finish = (ending: Ending): void => {
      if (route.operation === "create") countCreate(ending)
      if (fault?._tag === "Reset") done({ _tag: "Cut" })
      else if (fault?._tag === "Silence") done({ _tag: "Silent" })
      else done(ending)
    }
    if (request.credential === "publishable" && !mayBrowser(route, request, account)) {
      return finish(refuse(Errors.missing("payment_intent", route.id ?? "")))
    }
    if (request.method === "POST") return write(route, request, fault, finish)
    if (fault?._tag === "ServerError") return finish(refuse(Errors.serverError))
    if (fault?._tag === "Refused") return finish(refuse(Errors.refused(fault.code, fault.message)))
    if (fault?._tag === "Delay") return time.later(fault.ms, () => finish(read(route, request.params)))
    finish(read(route, request.params))
  }

  const countCreate = (ending: Ending): void => {
    if (ending._tag !== "Answered" || ending.answer.content._tag !== "Intent") return
    const account = accounts.get(ending.answer.content.intent.terms.id)
    if (account !== undefined) account.calls.create = (account.calls.create ?? 0) + 1
  }

  const takeFault = (route: Route, request: ProviderRequest, account: Account | undefined): Fault | undefined => {
    const token = textOf(request.params["payment_method"]) ?? account?.token
    const card = token === undefined ? undefined : findTestToken(token)
    return faults.take(route.operation, card, account?.intent.terms.id ?? request.key ?? "")
  }

  // ---- writing: key, lock, work

  const write = (
    route: Route,
    request: ProviderRequest,
    fault: Fault | undefined,
    finish: (ending: Ending) => void
  ): void => {
    const { key, path, params } = request
    const fingerprint = key === undefined ? 0 : fingerprintOf(path, params)
    if (key !== undefined) {
      if (key.length > 255)
        return finish(refuse(Errors.refused("idempotency_key_too_long", "Keys have up to 255 characters.")))
      const earlier = keys.begin(key, fingerprint, time.now())
      switch (earlier?._tag) {
        case "OtherRequest":
          return finish(refuse(Errors.keyMisused(key)))
        case "InProgress":
          return finish(refuse(Errors.keyInUse(key)))
        case "Answered":
          return finish({ _tag: "Answered", answer: { ...earlier.answer, replayed: true } })
      }
    }
    const giveUp = (ending: Ending): void => {
      if (key !== undefined) keys.giveUp(key)
      finish(ending)
    }
    const work = (): void => {
      const at = time.now()
      const outcome = carryOut(route, params, fault, at)
      if (outcome._tag === "Invalid") return giveUp(refuse(outcome.error))
      const answer = fault?._tag === "ServerError" ? errorAnswer(Errors.serverError) : outcome.answer
      apply({ at, ...outcome.change, stored: key === undefined ? undefined : { key, fingerprint, answer } })
      outcome.afterwards?.()
      finish({ _tag: "Answered", answer })
    }
    inTurn(route.id ?? textOf(params["payment_intent"]), fault?._tag === "Delay" ? fault.ms : 0, {
      work,
      tooLate: () => giveUp(refuse(Errors.locked))
    })
  }

  /** Writes to one intent come one after another. That shows only where work takes time; all else happens within one call. */
  const inTurn = (
    id: string | undefined,
    delay: number,
    turn: { readonly work: () => void; readonly tooLate: () => void }
  ): void => {
    const leave = (): void => {
      if (id === undefined) return
      const next = locks.get(id)?.shift()
      if (next === undefined) locks.delete(id)
      else next()
    }
    const enter = (): void => {
      const workAndLeave = (): void => {
        turn.work()
        leave()
      }
      if (delay === 0) return workAndLeave()
      if (id !== undefined && !locks.has(id)) locks.set(id, [])
      time.later(delay, workAndLeave)
    }
    const waiting = id === undefined ? undefined : locks.get(id)
    if (waiting === undefined) return enter()
    let settled = false
    waiting.push(() => {
      if (settled) return leave()
      settled = true
      enter()
    })
    time.later(lockWait, () => {
      if (settled) return
      settled = true
      turn.tooLate()
    })
  }

  const carryOut = (route: Route, params: Params, fault: Fault | undefined, at: number): Outcome => {
    if (fault?._tag === "ServerError" && !fault.done) return failed(Errors.serverError)
    if (fault?._tag === "Refused") return failed(Errors.refused(fault.code, fault.message))
    const unknown = findUnknownParameter(route.operation, params)
    if (unknown !== undefined) return { _tag: "Invalid", error: unknown }
    if (route.operation === "create") return create(params, fault, at)
    if (route.operation === "transfer") return sendTransfer(params, at)
    const id = route.id ?? textOf(params["payment_intent"]) ?? intentOfCharge(textOf(params["charge"]))
    if (id === undefined) {
      return { _tag: "Invalid", error: Errors.invalid("payment_intent", "A payment_intent or a charge is needed.") }
    }
    const intent = current(id, at)
    if (intent === undefined) return { _tag: "Invalid", error: Errors.missing("payment_intent", id) }
    switch (route.operation) {
      case "confirm": {
        const problem = findCardProblem(params)
        return problem === undefined
          ? decided(IntentRules.confirm(intent, confirmation(intent, params, fault), at), params)
          : { _tag: "Invalid", error: problem }
      }
      case "capture":
        return Result.match(wholeNumber(params, "amount_to_capture"), {
          onFailure: (error): Outcome => ({ _tag: "Invalid", error }),
          onSuccess: (amount) => captured(IntentRules.capture(intent, amount), params)
        })
      case "cancel":
        return decided(IntentRules.cancel(intent, textOf(params["cancellation_reason"]) ?? null, at), params)
      case "refund":
        return Result.match(wholeNumber(params, "amount"), {
          onFailure: (error): Outcome => ({ _tag: "Invalid", error }),
          onSuccess: (amount) => refund(intent, amount, params, fault, at)
        })
      default:
        return { _tag: "Invalid", error: Errors.unknownUrl("POST", route.operation) }
    }
  }

  const create = (params: Params, fault: Fault | undefined, at: number): Outcome => {
    const terms = readTerms(params)
    if (Result.isFailure(terms)) return { _tag: "Invalid", error: terms.failure }
    const id = newId("pi_")
    const decision = IntentRules.createIntent(
      { ...terms.success, id, clientSecret: newId(`${id}_secret_`), createdAt: at },
      textOf(params["payment_method"]) ?? null,
      textOf(params["return_url"]) ?? null
    )
    if (textOf(params["confirm"]) !== "true") return decided(decision, params)
    const confirmed = IntentRules.confirm(decision.intent, confirmation(decision.intent, params, fault), at)
    const movements = [...decision.movements, ...confirmed.movements]
    return decided({ ...confirmed, movements, events: [...decision.events, ...confirmed.events] }, params)
  }

  const confirmation = (intent: Intent, params: Params, fault: Fault | undefined) => ({
    card: findTestToken(textOf(params["payment_method"]) ?? intent.paymentMethod ?? ""),
    returnUrl: textOf(params["return_url"]) ?? null,
    chargeId: newId("ch_"),
    processingFor: fault?._tag === "Processing" ? fault.ms : undefined
  })

  const captured = (decision: Decision, params: Params): Outcome => {
    const outcome = decided(decision, params)
    const { terms, paymentMethod } = decision.intent
    const reason = findTestToken(paymentMethod ?? "")?.dispute
    return reason === undefined || decision.error !== undefined || outcome._tag === "Invalid"
      ? outcome
      : { ...outcome, afterwards: () => void openDispute(terms.id, { reason }) }
  }

  const refund = (
    intent: Intent,
    amount: number | undefined,
    params: Params,
    fault: Fault | undefined,
    at: number
  ): Outcome => {
    const pending = fault?._tag === "Pending"
    const decision = IntentRules.refund(intent, amount, pending)
    if (decision.error !== undefined) return decided(decision, params)
    const made: Refund = {
      id: newId("re_"),
      intentId: intent.terms.id,
      chargeId: intent.charge?.id ?? "",
      amount: decision.intent.refunded - intent.refunded,
      currency: intent.terms.currency,
      reason: textOf(params["reason"]) ?? null,
      metadata: textsOf(params["metadata"]),
      createdAt: at,
      status: pending ? "pending" : "succeeded",
      settles: pending
        ? { at: at + fault.ms, as: fault.as }
        : fault?._tag === "Returned"
          ? { at: at + fault.ms, as: "failed" }
          : null
    }
    return {
      _tag: "Performed",
      answer: { status: 200, content: { _tag: "Refund", refund: made }, replayed: false },
      change: { intent: decision.intent, movements: decision.movements, refund: made, events: decision.events }
    }
  }

  const sendTransfer = (params: Params, at: number): Outcome =>
    Result.match(readTransfer(params), {
      onFailure: (error): Outcome => ({ _tag: "Invalid", error }),
      onSuccess: (terms) => {
        const made: Transfer = { ...terms, id: newId("tr_"), createdAt: at }
        return {
          _tag: "Performed",
          answer: { status: 200, content: { _tag: "Transfer", transfer: made }, replayed: false },
          change: { intent: undefined, movements: [], refund: undefined, transfer: made, events: [] }
        }
      }
    })

  const openDispute = (
    intentId: string,
    options: { readonly amount?: number; readonly reason?: string } = {}
  ): Dispute | undefined => {
    const at = time.now()
    const intent = current(intentId, at)
    if (intent === undefined || intent.charge === null) return undefined
    const amount = options.amount ?? intent.received - intent.refunded
    const decision = IntentRules.dispute(intent, amount)
    if (decision.error !== undefined) return undefined
    const made: Dispute = {
      id: newId("du_"),
      intentId,
      chargeId: intent.charge.id,
      amount,
      currency: intent.terms.currency,
      reason: options.reason ?? "fraudulent",
      status: "needs_response",
      createdAt: at
    }
    apply({ ...changeOf(decision, at), dispute: made })
    return made
  }

  const closeDispute = (id: string, outcome: "won" | "lost"): Dispute | undefined => {
    const open = disputes.get(id)
    const at = time.now()
    const intent = open === undefined ? undefined : current(open.intentId, at)
    if (open === undefined || intent === undefined) return undefined
    const decision = IntentRules.closeDispute(intent, open.amount, outcome)
    if (decision.error !== undefined) return undefined
    const closed: Dispute = { ...open, status: outcome }
    apply({ ...changeOf(decision, at), dispute: closed })
    return closed
  }

  const apply = (change: Change): void => {
    take(change)
    const token = change.intent === undefined ? undefined : accounts.get(change.intent.terms.id)?.token
    for (const observer of observers) observer.changed?.(change, token)
  }

  const take = ({ at, intent, movements, refund: made, dispute, stored, transfer }: Change): void => {
    if (intent !== undefined) {
      const account = accounts.get(intent.terms.id) ?? openAccount(intent)
      account.intent = intent
      account.token = intent.paymentMethod ?? account.token
      account.changedAt = at
      recordMovements(account, movements, stored?.key, at)
      if (intent.settlesAt !== null) settleAt(intent.settlesAt, () => void current(intent.terms.id, time.now()))
    }
    if (made !== undefined) {
      refunds.set(made.id, made)
      if (made.settles !== null) settleAt(made.settles.at, () => settleRefund(made.id))
    }
    if (dispute !== undefined) disputes.set(dispute.id, dispute)
    if (transfer !== undefined) transfers.set(transfer.id, transfer)
    if (stored !== undefined) keys.answered(stored.key, stored.fingerprint, stored.answer, at)
  }

  /** Time alone changes things, and the shop is told when it does, not when it next asks. A timer may end before the clock says so. */
  const settleAt = (at: number, then: () => void): void =>
    time.later(Math.max(0, at - time.now()), () => (time.now() < at ? settleAt(at, then) : then()))

  const settleRefund = (id: string): void => {
    const made = refunds.get(id)
    const at = time.now()
    if (made === undefined || made.settles === null || at < made.settles.at) return
    const intent = current(made.intentId, at)
    if (intent === undefined) return
    const settled = IntentRules.settleRefund(intent, made, at)
    if (settled !== undefined) apply({ ...changeOf(settled, at), refund: settled.refund })
  }

  /** The intent as time has left it by now. */
  const current = (id: string, at: number): Intent | undefined => {
    const account = accounts.get(id)
    if (account === undefined) return undefined
    const settled = IntentRules.settle(account.intent, at)
    if (settled !== undefined) apply(changeOf(settled, at))
    return account.intent
  }

  const intentOfCharge = (charge: string | undefined): string | undefined =>
    charge === undefined ? undefined : order.find(({ intent }) => intent.charge?.id === charge)?.intent.terms.id

  // ---- reading

  const read = (route: Route, params: Params): Ending => {
    const at = time.now()
    switch (route.operation) {
      case "retrieve": {
        const intent = current(route.id ?? "", at)
        return intent === undefined
          ? refuse(Errors.missing("payment_intent", route.id ?? ""))
          : answered({ _tag: "Intent", intent, expandCharge: expands(params, "latest_charge") })
      }
      case "list":
        return intents("list", (account) => matchesList(account.intent, params), params, at)
      case "search": {
        const matches = parseSearch(textOf(params["query"]) ?? "")
        return matches === undefined
          ? refuse(Errors.invalid("query", "We were unable to parse your search query."))
          : intents(
              "search_result",
              (account) => account.changedAt + searchLag <= at && matches(account.intent),
              params,
              at
            )
      }
      case "list_refunds": {
        for (const id of refunds.keys()) settleRefund(id)
        return listOfCharges("/v1/refunds", [...refunds.values()], params, (item) => ({ _tag: "Refund", refund: item }))
      }
      case "list_disputes":
        return listOfCharges("/v1/disputes", [...disputes.values()], params, (item) => ({
          _tag: "Dispute",
          dispute: item
        }))
      case "list_transfers": {
        const group = textOf(params["transfer_group"])
        const found = [...transfers.values()].toReversed().filter((one) => group === undefined || group === one.group)
        const { items, more } = pageOf(found, ({ id }) => id, params)
        const contents = items.map((transfer): Content => ({ _tag: "Transfer", transfer }))
        return answered({ _tag: "List", url: "/v1/transfers", kind: "list", items: contents, more })
      }
      case "retrieve_dispute": {
        const found = disputes.get(route.id ?? "")
        return found === undefined
          ? refuse(Errors.missing("dispute", route.id ?? ""))
          : answered({ _tag: "Dispute", dispute: found })
      }
      case "retrieve_refund": {
        settleRefund(route.id ?? "")
        const found = refunds.get(route.id ?? "")
        return found === undefined
          ? refuse(Errors.missing("refund", route.id ?? ""))
          : answered({ _tag: "Refund", refund: found })
      }
      default:
        return refuse(Errors.unknownUrl("GET", route.operation))
    }
  }

  /** Things which belong to a charge, newest first; of one payment where the request names it. */
  const listOfCharges = <A extends { readonly id: string; readonly intentId: string; readonly chargeId: string }>(
    url: string,
    oldestFirst: ReadonlyArray<A>,
    params: Params,
    contentOf: (item: A) => Content
  ): Ending => {
    const found = oldestFirst
      .toReversed()
      .filter(
        ({ intentId, chargeId }) =>
          [undefined, intentId].includes(textOf(params["payment_intent"])) &&
          [undefined, chargeId].includes(textOf(params["charge"]))
      )
    const { items, more } = pageOf(found, ({ id }) => id, params)
    return answered({ _tag: "List", url, kind: "list", items: items.map(contentOf), more })
  }

  const intents = (
    kind: "list" | "search_result",
    matches: (account: Account) => boolean,
    params: Params,
    at: number
  ): Ending => {
    const { items, more } = pageOf(order.toReversed().filter(matches), ({ intent }) => intent.terms.id, params)
    const expandCharge = expands(params, "data.latest_charge")
    const contents = items.map(({ intent }): Content => ({
      _tag: "Intent",
      intent: current(intent.terms.id, at) ?? intent,
      expandCharge
    }))
    const url = kind === "list" ? "/v1/payment_intents" : "/v1/payment_intents/search"
    return answered({ _tag: "List", url, kind, items: contents, more })
  }

  return {
    handle,
    ledger,
    transfers: () => [...transfers.values()],
    faults: {
      ...faults,
      inject: (injection) => {
        if (injection.fault._tag === "Down") goDownFor(injection.fault.ms)
        else faults.inject(injection)
      },
      clear: () => {
        downUntil = 0
        faults.clear()
      }
    },
    authenticate: (id, passed) => {
      const at = time.now()
      const intent = current(id, at)
      if (intent === undefined) return undefined
      const card = findTestToken(intent.paymentMethod ?? "")
      if (card === undefined) return { intent, accepted: false }
      const decision = IntentRules.authenticate(intent, { passed, card, chargeId: newId("ch_") }, at)
      const accepted = decision.intent !== intent
      if (accepted) apply(changeOf(decision, at))
      return { intent: decision.intent, accepted }
    },
    dispute: openDispute,
    closeDispute,
    reset: () => {
      clear()
      keys.clear()
      refunds.clear()
      disputes.clear()
      transfers.clear()
      faults.clear()
      downUntil = 0
      for (const observer of observers) observer.reset?.()
    },
    restore: take,
    observe: (observer) => {
      observers.push(observer)
    },
    isDown: () => time.now() < downUntil
  }
}

const mayBrowser = (route: Route, request: ProviderRequest, account: Account | undefined): boolean =>
  (route.operation === "retrieve" || route.operation === "confirm") &&
  account !== undefined &&
  account.intent.terms.clientSecret === textOf(request.params["client_secret"])

/** A change which nobody asked for with a key: by time, or by the customer. */
const changeOf = ({ intent, movements, events }: Decision, at: number): Change => ({
  at,
  intent,
  movements,
  events,
  refund: undefined,
  stored: undefined
})

const expands = (params: Params, field: string): boolean => listOf(params["expand"]).includes(field)

const failed = (error: ProviderError): Outcome => ({
  _tag: "Performed",
  answer: errorAnswer(error),
  change: { intent: undefined, movements: [], refund: undefined, events: [] }
})

const decided = ({ intent, movements, events, error }: Decision, params: Params): Outcome => ({
  _tag: "Performed",
  answer:
    error === undefined
      ? {
          status: 200,
          content: { _tag: "Intent", intent, expandCharge: expands(params, "latest_charge") },
          replayed: false
        }
      : errorAnswer(error),
  change: { intent, movements, refund: undefined, events }
})

const answered = (content: Content): Ending => ({
  _tag: "Answered",
  answer: { status: 200, content, replayed: false }
})

const refuse = (error: ProviderError, retryAfterSeconds?: number): Ending => ({
  _tag: "Answered",
  answer: { ...errorAnswer(error), ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
})

const errorAnswer = (error: ProviderError): Answer => ({
  status: error.status,
  content: { _tag: "Error", error },
  replayed: false
})

const newId = (prefix: string): string => prefix + randomUUID().replaceAll("-", "").slice(0, 24)
