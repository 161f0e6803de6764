/**
 * What operators' programs import: apart from the storefronts' client, so that no page of a shop loads it. As there, a call keeps its key
 * until it has its answer, at whichever node answers.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { OperatorRpc } from "../rpc/operator/OperatorRpc.ts"
import {
  type CallSettings,
  type ClientFault,
  type ClientOptions,
  type Keyed,
  type Loose,
  makeFor,
  type Token
} from "./Calls.ts"

type Operations = RpcGroup.Rpcs<typeof OperatorRpc>
type OfTag<Tag extends string> = Extract<Operations, { readonly _tag: Tag }>

/** One method an operation. A command whose key is left out gets one, kept over all repetitions of the call. */
export type OperatorCalls = {
  readonly [Tag in Operations["_tag"]]: (
    input: Keyed<Loose<Rpc.Payload<OfTag<Tag>>>>,
    settings?: CallSettings
  ) => Effect.Effect<Rpc.SuccessExit<OfTag<Tag>>, Rpc.ErrorExit<OfTag<Tag>> | ClientFault>
}

/** The token is one with the role `operator`; there are no guests here. */
export interface OperatorOptions extends ClientOptions {
  readonly token: Token
}

export class OperatorClient extends Context.Service<OperatorClient, OperatorCalls>()(
  "cartwright/client/OperatorClient"
) {
  static readonly layer = (options: OperatorOptions): Layer.Layer<OperatorClient> =>
    Layer.effect(
      OperatorClient,
      Effect.map(makeFor(options, OperatorRpc), ({ call }) => operatorCalls(call))
    )
}

const operatorCalls = (call: unknown): OperatorCalls => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made for this group
  const untyped = call as (tag: string, input: unknown, settings?: CallSettings) => Effect.Effect<never, never>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each operation
  return Object.fromEntries(
    Array.from(OperatorRpc.requests.keys(), (tag) => [
      tag,
      (input: unknown, settings?: CallSettings) => untyped(tag, input, settings)
    ])
  ) as unknown as OperatorCalls
}

export { type CallSettings, type ClientOptions, type Token, TokenUnavailable, Unreachable } from "./Calls.ts"
export {
  AccessDenied,
  IdempotencyConflict,
  IllegalTransition,
  InvalidRequest,
  NotFound,
  Unavailable
} from "../domain/Refusals.ts"
export { InternalError, RequestTimeout, Unauthenticated } from "../rpc/Edge.ts"
