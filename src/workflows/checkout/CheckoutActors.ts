/** The actors of one checkout, which live on one node under one id, as its processes use them. */
import { Context, Effect } from "effect"
import type * as CartActor from "../../entities/cart/CartActor.ts"
import type { CheckoutSessionDefinition } from "../../entities/checkoutSession/CheckoutSessionActor.ts"
import type { FailedCompensationDefinition } from "../../entities/failedCompensation/FailedCompensationActor.ts"
import type { OrderDefinition } from "../../entities/order/OrderActor.ts"
import type { PaymentDefinition } from "../../entities/payment/PaymentActor.ts"
import type { ReservationDefinition } from "../../entities/reservation/ReservationActor.ts"
import type { Unavailable } from "../../domain/Refusals.ts"
import type { Cell } from "../../runtime/Actor.ts"
import type { Actors } from "../../runtime/Actors.ts"

/** The definitions with this shop's limits. */
export class CheckoutActors extends Context.Service<
  CheckoutActors,
  {
    readonly cart: ReturnType<typeof CartActor.make>
    readonly session: CheckoutSessionDefinition
    readonly reservation: ReservationDefinition
    readonly payment: PaymentDefinition
    readonly order: OrderDefinition
    readonly failed: FailedCompensationDefinition
  }
>()("cartwright/workflows/checkout/CheckoutActors") {}

/** Everything under one checkout's id. */
export interface Group {
  readonly id: string
  readonly session: Cell<CheckoutSessionDefinition>
  readonly reservation: Cell<ReservationDefinition>
  readonly payment: Cell<PaymentDefinition>
  readonly order: Cell<OrderDefinition>
}

/** The session is read when it is not in memory; the others only once an attempt can have made them. */
export const groupOf =
  (actors: Actors["Service"], definitions: CheckoutActors["Service"]) =>
  (id: string): Effect.Effect<Group, Unavailable> => {
    const others = [definitions.reservation, definitions.payment, definitions.order] as const
    return Effect.flatMap(actors.cell(definitions.session, id), (session) => {
      const untried = session.state._tag === "Absent" || session.state.attempt === 0
      const made = untried ? Effect.succeed(actors.absent(others, id)) : actors.cells(others, id)
      return Effect.map(made, ([reservation, payment, order]) => ({ id, session, reservation, payment, order }))
    })
  }

export const cellsOf = ({ order, payment, reservation, session }: Group): ReadonlyArray<Cell> => [
  session,
  reservation,
  payment,
  order
]
