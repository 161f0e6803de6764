/** The client for programs on Effect: one method an operation, each of which keeps its key until it has its answer. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Stream from "effect/Stream"
import { CustomerApi } from "../rpc/CustomerApi.ts"
import {
  type Answer,
  type Calls,
  type CallSettings,
  type Change,
  type ClientOptions,
  type Failure,
  type Input,
  make,
  type TokenUnavailable,
  type Unary,
  type Unreachable
} from "./Calls.ts"

export type StorefrontCalls = {
  readonly [Tag in Unary]: (input: Input<Tag>, settings?: CallSettings) => Effect.Effect<Answer<Tag>, Failure<Tag>>
} & {
  /** Every change behind `afterSeq`, each once, whichever nodes come and go. Ends when the order does. */
  readonly WatchOrder: (
    input: Input<"WatchOrder">,
    settings?: CallSettings
  ) => Stream.Stream<Change, Failure<"WatchOrder">>
  /** Confirms, and as long as that is `Pending` asks how it stands; at most for `waitAtMost`, which is 10 minutes. */
  readonly confirmAndWait: (
    input: Input<"ConfirmCheckout">,
    settings?: CallSettings & { readonly waitAtMost?: Duration.Input | undefined }
  ) => Effect.Effect<Answer<"ConfirmCheckout">, Failure<"ConfirmCheckout">>
  /** The token which a call made now would carry. */
  readonly token: Effect.Effect<string, TokenUnavailable | Unreachable>
}

export class StorefrontClient extends Context.Service<StorefrontClient, StorefrontCalls>()(
  "cartwright/client/StorefrontClient"
) {
  static readonly layer = (options: ClientOptions): Layer.Layer<StorefrontClient> =>
    Layer.effect(StorefrontClient, Effect.map(make(options), storefrontCalls))
}

/** Every operation as a method. */
const storefrontCalls = ({ call, token, watch }: Calls): StorefrontCalls => {
  const confirmAndWait: StorefrontCalls["confirmAndWait"] = Effect.fnUntraced(function* (input, settings) {
    const first = yield* call("ConfirmCheckout", input, settings)
    if (first._tag !== "Pending") return first
    const { checkoutId } = input
    return yield* call("GetConfirmStatus", { checkoutId }, settings).pipe(
      Effect.repeat({ until: (answer) => answer._tag !== "Pending", schedule: askAgain }),
      Effect.timeoutOrElse({ duration: settings?.waitAtMost ?? "10 minutes", orElse: () => Effect.succeed(first) })
    )
  })
  const operations = Object.fromEntries(
    unary.map((tag) => [tag, (input: Input<typeof tag>, settings?: CallSettings) => call(tag, input, settings)])
  )
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each operation
  return { ...operations, WatchOrder: watch, confirmAndWait, token } as StorefrontCalls
}

const unary = Array.from(CustomerApi.requests.values(), ({ _tag }) => _tag).filter((tag) => tag !== "WatchOrder")

const askAgain = Schedule.min([Schedule.exponential("500 millis", 1.5), Schedule.spaced("5 seconds")])
