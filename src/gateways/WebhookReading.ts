/** How adapters turn what a provider wrote into facts: what does not fit is unreadable, and nothing throws. */
import { Effect, Option } from "effect"
import type { Money } from "../domain/Money.ts"
import type { PaymentFact } from "../entities/providerEvent/ProviderEvent.ts"
import { NotReadable } from "./ProviderWebhooks.ts"

/** What a kind of event says of its subject; none where the subject is not what the provider's manual says. */
export type Meaning<Subject> = (subject: Subject) => Option.Option<PaymentFact>

export const always =
  (fact: PaymentFact): Meaning<unknown> =>
  () =>
    Option.some(fact)

/** Of events which name an amount. */
export const withMoney =
  <Subject>(
    moneyOf: (subject: Subject) => Money | undefined,
    factOf: (money: Money, subject: Subject) => PaymentFact | undefined
  ): Meaning<Subject> =>
  (subject) => {
    const money = moneyOf(subject)
    return Option.fromUndefinedOr(money === undefined ? undefined : factOf(money, subject))
  }

export const readable = <A>(value: Option.Option<A>): Effect.Effect<A, NotReadable> =>
  Option.isSome(value) ? Effect.succeed(value.value) : Effect.fail(new NotReadable())
