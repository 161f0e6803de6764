/** Who uses a simulated cluster: customers who repeat a command, with its key, until they have its answer, and who write down what they heard. */
import { Cause, Effect, Exit, Fiber } from "effect"
import { DurableDeferred } from "effect/workflow"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Dice } from "./Dice.ts"
import { Errand, Go } from "./Errand.ts"
import type { Node, Services } from "./Node.ts"
import { type Answer, items, Saving, Wallet } from "./Wallet.ts"
import type { Process, World } from "./World.ts"

export type Heard =
  | { readonly _tag: "Done"; readonly answer: Answer }
  | { readonly _tag: "Refused"; readonly refusal: string }
  /** Neither one nor the other: no one should ever hear that. */
  | { readonly _tag: "Broken"; readonly what: string }

export interface Command {
  readonly key: string
  readonly wallet: string
  readonly kind: (typeof kinds)[number]
  readonly what: string
  readonly effect: Effect.Effect<Answer, { readonly _tag: string }, Services>
  /** All answers it ever got; one is enough. */
  readonly heard: Array<Heard>
}

/** A question's answer: what some node believed. */
export interface Seen {
  readonly wallet: string
  readonly answer: Answer
}

export interface Histories {
  readonly commands: Array<Command>
  readonly seen: Array<Seen>
}

export const walletNames = Array.from({ length: 5 }, (_, index) => `wallet-${index}`)

const on = <A, E>(use: (placement: Placement["Service"]) => Effect.Effect<A, E>): Effect.Effect<A, E, Services> =>
  Effect.flatMap(Placement, use)

const kinds = ["Deposit", "Withdraw", "Transfer", "Take", "SetAlarm", "Save", "Errand"] as const

/** What the customers of one seed do: some kinds often and others never, on many wallets or few, in a hurry or not. */
export interface Habits {
  readonly wallets: ReadonlyArray<string>
  /** Each as often as it is likely. */
  readonly kinds: ReadonlyArray<(typeof kinds)[number]>
  /** How likely a pause is after a command. */
  readonly pauses: number
}

export const habitsOf = (dice: Dice): Habits => ({
  wallets: walletNames.slice(0, dice.between(1, walletNames.length)),
  kinds: [
    // Without money there is little to do.
    "Deposit",
    ...kinds.flatMap((kind) => Array.from({ length: dice.pick([0, 1, 1, 2, 6]) }, () => kind))
  ],
  pauses: dice.pick([0.1, 0.4, 0.4, 0.8])
})

const commandOf = (dice: Dice, habits: Habits, key: string): Command => {
  const kind = dice.pick(habits.kinds)
  if (kind === "Errand") return errandOf(dice, habits, key)
  const wallet = dice.pick(habits.wallets)
  const amount = BigInt(dice.between(1, 20))
  const to = dice.pick(habits.wallets)
  const item = dice.pick(items)
  const units = dice.between(1, 4)
  const afterMs = dice.between(200, 12_000)
  const urgent = dice.chance(0.4)
  const of = (what: string, call: (placement: Placement["Service"]) => Command["effect"]): Command => ({
    key,
    wallet,
    kind,
    what: `${kind} ${what}`,
    effect: Effect.flatMap(Placement, call),
    heard: []
  })
  switch (kind) {
    case "Deposit":
      return of(`${amount}`, (placement) => placement.client(Wallet)(wallet).Deposit({ key, amount }))
    case "Withdraw":
      return of(`${amount}`, (placement) => placement.client(Wallet)(wallet).Withdraw({ key, amount }))
    case "Transfer":
      return of(`${amount} to ${to}`, (placement) => placement.client(Wallet)(wallet).Transfer({ key, amount, to }))
    case "Take":
      return of(`${units} ${item}`, (placement) => placement.client(Wallet)(wallet).Take({ key, item, units }))
    case "SetAlarm":
      return of(`${afterMs}`, (placement) => placement.client(Wallet)(wallet).SetAlarm({ key, afterMs, urgent }))
    case "Save":
      return of(`${amount}`, (placement) => placement.client(Saving)(wallet).Save({ key, amount }))
  }
}

/** Runs an errand to its end; whoever asks again waits for the same one. */
const errandOf = (dice: Dice, habits: Habits, key: string): Command => {
  const [from, to] = [dice.pick(habits.wallets), dice.pick(habits.wallets)]
  const amount = BigInt(dice.between(1, 10))
  const payload = {
    errand: key,
    from,
    to,
    amount,
    waitMs: dice.between(0, 4000),
    asks: dice.chance(0.4),
    inVain: dice.chance(0.3)
  }
  const says = dice.chance(0.5)
  const effect = Effect.gen(function* () {
    if (payload.asks) {
      const executionId = yield* says ? Errand.execute(payload, { discard: true }) : Errand.executionId(payload)
      const token = DurableDeferred.tokenFromExecutionId(Go, { workflow: Errand, executionId })
      yield* DurableDeferred.succeed(Go, { token, value: amount })
    }
    const balance = yield* Errand.execute(payload)
    return { balance, version: 0 }
  })
  const what = `Errand of ${amount} to ${to}${payload.asks ? ", when told to" : ""}${payload.inVain ? ", in vain" : ""}`
  return { key, wallet: from, kind: "Errand", what, effect, heard: [] }
}

const heardFrom = (exit: Exit.Exit<Answer, { readonly _tag: string }>): Heard | undefined => {
  if (Exit.isSuccess(exit)) return { _tag: "Done", answer: exit.value }
  const [reason] = exit.cause.reasons
  if (reason?._tag === "Fail") {
    const { _tag, ...content } = reason.error
    if (_tag === "Unavailable") return undefined
    if (_tag === "IdempotencyConflict") return { _tag: "Broken", what: _tag }
    return {
      _tag: "Refused",
      refusal: `${_tag} ${JSON.stringify(content, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value))}`
    }
  }
  if (reason?._tag === "Interrupt") return undefined
  return { _tag: "Broken", what: Cause.pretty(exit.cause).split("\n")[0]! }
}

export interface ClientOptions {
  readonly world: World
  /** Those which can be asked; some of them may be dead. */
  readonly nodes: () => ReadonlyArray<Node>
  readonly histories: Histories
  readonly habits: Habits
  /** Nothing new is begun later than so many milliseconds after the start. */
  readonly until: number
}

/** Asks a node; whether it hears anything depends on what becomes of the node meanwhile. */
const ask = <A, E>(
  world: World,
  dice: Dice,
  process: Process,
  node: Node | undefined,
  effect: Effect.Effect<A, E, Services>
) =>
  Effect.callback<Exit.Exit<A, E> | undefined>((resume) => {
    const latency = () => (dice.chance(0.05) ? dice.between(50, 1500) : dice.between(1, 10))
    const answer = (exit: Exit.Exit<A, E> | undefined) =>
      world.at(latency(), () => process.post(() => resume(Effect.succeed(exit))))
    world.at(latency(), () => {
      if (node?.process.alive !== true || node.context === undefined) answer(undefined)
      else node.run(effect, answer)
    })
  })

/** What some node says of a wallet. */
export const look = (nodes: ReadonlyArray<Node>, wallet: string, onAnswer: (answer: Answer) => void): void => {
  const [node] = nodes
  node?.run(on((placement) => placement.client(Wallet)(wallet).Look()).pipe(Effect.retry({ times: 20 })), (exit) => {
    if (Exit.isSuccess(exit)) onAnswer(exit.value)
  })
}

/** A customer, until all of its commands are answered. */
export const startClient = (
  { habits, histories, nodes, until, world }: ClientOptions,
  name: string,
  onEnd: () => void
): void => {
  const process = world.start(name)
  const dice = world.dice.fork(name)
  const tell = (what: string) => world.trace.add(name, what)
  const pickNode = (): Node | undefined => {
    const all = nodes()
    return all.length === 0 ? undefined : dice.pick(all)
  }
  const attempt = (command: Command) =>
    Effect.suspend(() => {
      const node = pickNode()
      return ask(world, dice, process, node, command.effect).pipe(
        Effect.timeoutOrElse({
          duration: command.kind === "Errand" ? dice.between(1000, 15_000) : dice.between(500, 6000),
          orElse: () => Effect.succeed(undefined)
        }),
        Effect.map((exit) => {
          const heard = exit === undefined ? undefined : heardFrom(exit)
          if (heard === undefined) return false
          command.heard.push(heard)
          tell(
            `${command.key} hears ${heard._tag === "Done" ? `version ${heard.answer.version}, balance ${heard.answer.balance}` : heard._tag === "Refused" ? heard.refusal : `${heard._tag} ${heard.what}`} from ${node!.name}`
          )
          return true
        })
      )
    })
  const untilHeard = Effect.fnUntraced(function* (command: Command) {
    histories.commands.push(command)
    tell(`${command.key} ${command.wallet}: ${command.what}`)
    while (command.heard.length === 0) {
      // Impatient ones ask twice at once.
      if (dice.chance(0.1)) yield* Effect.all([attempt(command), attempt(command)], { concurrency: "unbounded" })
      else yield* attempt(command)
      if (command.heard.length === 0) yield* Effect.sleep(dice.between(10, 400))
    }
    // Careful ones ask again later.
    if (dice.chance(0.15)) yield* attempt(command)
  })
  const question = Effect.gen(function* () {
    const wallet = dice.pick(habits.wallets)
    const answer = yield* ask(
      world,
      dice,
      process,
      pickNode(),
      on((placement) => placement.client(Wallet)(wallet).Look())
    ).pipe(Effect.timeoutOrElse({ duration: 3000, orElse: () => Effect.succeed(undefined) }))
    if (answer !== undefined && Exit.isSuccess(answer)) histories.seen.push({ wallet, answer: answer.value })
  })
  const program = Effect.gen(function* () {
    const underWay: Array<Fiber.Fiber<void>> = []
    for (let count = 0; world.elapsed < until; count++) {
      const key = `${name}/${count}`
      const command = commandOf(dice, habits, key)
      // Some take their time, and of what runs short everybody wants some at once.
      if (command.kind === "Errand" || (command.kind === "Take" && dice.chance(0.7)))
        underWay.push(yield* Effect.forkChild(untilHeard(command)))
      else yield* untilHeard(command)
      if (dice.chance(0.15)) yield* question
      yield* Effect.sleep(dice.chance(habits.pauses) ? dice.between(100, 1500) : dice.between(0, 30))
    }
    for (const fiber of underWay) yield* Fiber.join(fiber)
  })
  process.run(program, (exit) => {
    if (Exit.isFailure(exit))
      histories.commands.push({
        key: name,
        wallet: "",
        kind: "Deposit",
        what: "",
        effect: Effect.never,
        heard: [{ _tag: "Broken", what: String(exit.cause) }]
      })
    onEnd()
  })
}
