/** The client for everybody else: promises, plain strings and dates. */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import type { Answer, CallSettings, Change, ClientOptions, Input } from "./Calls.ts"
import { newCheckoutId, newId } from "./NewId.ts"
import { StorefrontClient, type StorefrontCalls } from "./StorefrontClient.ts"
import { explained } from "./Thrown.ts"

/** An answer in plain values: dates are `Date`, ids are strings. Money is in minor units, as `bigint`. */
export type Plain<T> = T extends { readonly "~effect/Brand": unknown }
  ? T extends string
    ? string
    : number
  : T extends DateTime.Utc
    ? Date
    : T extends object
      ? { readonly [K in keyof T]: Plain<T[K]> }
      : T

export type CartView = Plain<Answer<"GetCart">>
export type CheckoutView = Plain<Answer<"GetCheckout">>
export type Confirmation = Plain<Answer<"ConfirmCheckout">>
export type Preview = Plain<Answer<"PreviewTotals">>
export type StockCheck = Plain<Answer<"ValidateInventory">>
export type CheckoutStep = Plain<Answer<"GetCheckoutSteps">[number]>
export type OrderView = Plain<Answer<"GetOrder">>
export type OrderPage = Plain<Answer<"ListOrders">>
export type OrderChange = Plain<Change>
export type Address = Input<"SetAddress">["address"]

export interface CallOptions {
  /** Stops waiting. A command which is under way may still be carried out. */
  readonly signal?: AbortSignal | undefined
}

export interface CommandOptions extends CallOptions {
  /**
   * Names the intent: the same key has the same answer. One is made up for each call and kept while that is repeated, so it is needed
   * only where an intent outlives the page.
   */
  readonly key?: string | undefined
}

export interface Cart {
  readonly id: string
  readonly get: (options?: CallOptions) => Promise<CartView>
  /** The first item makes the cart. */
  readonly add: (
    item: { readonly sku: string; readonly quantity: number; readonly currency: string },
    options?: CommandOptions
  ) => Promise<CartView>
  /** Sets the quantity of an item. */
  readonly update: (
    item: { readonly sku: string; readonly quantity: number },
    options?: CommandOptions
  ) => Promise<CartView>
  readonly remove: (sku: string, options?: CommandOptions) => Promise<CartView>
  readonly clear: (options?: CommandOptions) => Promise<CartView>
  /** Takes over a guest's cart after signing in; `fromToken` is the guest's. */
  readonly merge: (
    guest: { readonly from: string; readonly fromToken: string },
    options?: CommandOptions
  ) => Promise<CartView>
}

export interface ConfirmOptions extends CommandOptions {
  /** The total the buyer saw, in minor units: any other is refused as `PriceChanged`. */
  readonly expectedTotal?: { readonly amount: bigint; readonly currency: string } | undefined
}

export interface Checkout {
  /** Also the id of the order it becomes. */
  readonly id: string
  readonly get: (options?: CallOptions) => Promise<CheckoutView>
  readonly setAddress: (address: Address, options?: CommandOptions) => Promise<CheckoutView>
  readonly setShippingMethod: (
    method: Input<"SetShippingMethod">["method"],
    options?: CommandOptions
  ) => Promise<CheckoutView>
  /** The provider's token for a card (`pm_...`), as its own browser code gave it; or `cash_on_delivery`, or `bank_transfer`. */
  readonly setPaymentMethod: (paymentMethod: string, options?: CommandOptions) => Promise<CheckoutView>
  readonly applyPromotion: (code: string, options?: CommandOptions) => Promise<CheckoutView>
  readonly removePromotion: (options?: CommandOptions) => Promise<CheckoutView>
  /** What could be sold of each line now. */
  readonly validateInventory: (options?: CallOptions) => Promise<StockCheck>
  /** What it would cost now. */
  readonly preview: (options?: CallOptions) => Promise<Preview>
  /** Answers within half a minute, if only with `Pending`. */
  readonly confirm: (options?: ConfirmOptions) => Promise<Confirmation>
  /** As `confirm`, and waits while that is `Pending`, at most for `waitAtMost` (10 minutes). */
  readonly confirmAndWait: (
    options?: ConfirmOptions & { readonly waitAtMost?: Duration.Input | undefined }
  ) => Promise<Confirmation>
  /** How the latest confirmation stands; starts nothing. */
  readonly confirmStatus: (options?: CallOptions) => Promise<Confirmation>
  readonly steps: (options?: CallOptions) => Promise<ReadonlyArray<CheckoutStep>>
  readonly abandon: (options?: CommandOptions) => Promise<CheckoutView>
}

export interface Orders {
  readonly get: (orderId: string, options?: CallOptions) => Promise<OrderView>
  /** The caller's own, newest first. `after` is the `next` of the page before. */
  readonly list: (
    page?: { readonly after?: string | undefined; readonly limit?: number | undefined },
    options?: CallOptions
  ) => Promise<OrderPage>
  readonly history: (
    orderId: string,
    options?: CallOptions & { readonly afterSeq?: number | undefined }
  ) => Promise<ReadonlyArray<OrderChange>>
  /** Every change, past and to come, each once; goes on at another node by itself. Ends when the order does, or by `signal`. */
  readonly watch: (
    orderId: string,
    options?: CallOptions & { readonly afterSeq?: number | undefined }
  ) => AsyncIterable<OrderChange>
}

export interface Shop {
  /** A cart by its id, or a new one. */
  readonly cart: (cartId?: string) => Cart
  readonly checkout: {
    /** A checkout which was started before. */
    (checkoutId: string): Checkout
    readonly start: (
      of: { readonly cartId: string; readonly currency: string; readonly checkoutId?: string | undefined },
      options?: CommandOptions
    ) => Promise<Checkout>
  }
  readonly orders: Orders
  /** The token which a call made now would carry; a guest's is worth keeping, since it owns the guest's carts. */
  readonly token: () => Promise<string>
  /** Ends all connections; calls under way are rejected. */
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/** Connects with the first call, and from then on to whichever node answers. */
export const connect = (options: ClientOptions): Shop => {
  const runtime = ManagedRuntime.make(StorefrontClient.layer(options))

  const run = async <A, E>(
    use: (client: StorefrontCalls, settings: CallSettings) => Effect.Effect<A, E>,
    signal: AbortSignal | undefined
  ): Promise<Plain<A>> => {
    const site = new Error("called here")
    const requestId = newId()
    const exit = await runtime.runPromiseExit(
      Effect.flatMap(StorefrontClient, (client) => use(client, { requestId })),
      signal === undefined ? {} : { signal }
    )
    if (Exit.isSuccess(exit)) return plain(exit.value)
    if (signal?.aborted === true) throw signal.reason
    if (Cause.hasInterruptsOnly(exit.cause)) throw new DOMException("The client was closed", "AbortError")
    throw explained(Cause.squash(exit.cause), requestId, site)
  }

  const cart = (cartId: string = newId()): Cart => ({
    id: cartId,
    get: (to) => run((client, settings) => client.GetCart({ cartId }, settings), to?.signal),
    add: (item, to) =>
      run((client, settings) => client.AddItem({ ...item, ...keyOf(to), cartId }, settings), to?.signal),
    update: (item, to) =>
      run((client, settings) => client.UpdateItem({ ...item, ...keyOf(to), cartId }, settings), to?.signal),
    remove: (sku, to) =>
      run((client, settings) => client.RemoveItem({ sku, ...keyOf(to), cartId }, settings), to?.signal),
    clear: (to) => run((client, settings) => client.ClearCart({ ...keyOf(to), cartId }, settings), to?.signal),
    merge: (guest, to) =>
      run((client, settings) => client.MergeCart({ ...guest, ...keyOf(to), cartId }, settings), to?.signal)
  })

  const checkout = (checkoutId: string): Checkout => {
    const confirmation = (to: ConfirmOptions | undefined) => ({
      ...keyOf(to),
      ...(to?.expectedTotal === undefined ? {} : { expectedTotal: to.expectedTotal }),
      checkoutId
    })
    return {
      id: checkoutId,
      get: (to) => run((client, settings) => client.GetCheckout({ checkoutId }, settings), to?.signal),
      setAddress: (address, to) =>
        run((client, settings) => client.SetAddress({ address, ...keyOf(to), checkoutId }, settings), to?.signal),
      setShippingMethod: (method, to) =>
        run((client, settings) => client.SetShippingMethod({ method, ...keyOf(to), checkoutId }, settings), to?.signal),
      setPaymentMethod: (paymentMethod, to) =>
        run(
          (client, settings) => client.SetPaymentMethod({ paymentMethod, ...keyOf(to), checkoutId }, settings),
          to?.signal
        ),
      applyPromotion: (code, to) =>
        run((client, settings) => client.ApplyPromotion({ code, ...keyOf(to), checkoutId }, settings), to?.signal),
      removePromotion: (to) =>
        run((client, settings) => client.RemovePromotion({ ...keyOf(to), checkoutId }, settings), to?.signal),
      validateInventory: (to) =>
        run((client, settings) => client.ValidateInventory({ checkoutId }, settings), to?.signal),
      preview: (to) => run((client, settings) => client.PreviewTotals({ checkoutId }, settings), to?.signal),
      confirm: (to) => run((client, settings) => client.ConfirmCheckout(confirmation(to), settings), to?.signal),
      confirmAndWait: (to) =>
        run(
          (client, settings) => client.confirmAndWait(confirmation(to), { ...settings, waitAtMost: to?.waitAtMost }),
          to?.signal
        ),
      confirmStatus: (to) => run((client, settings) => client.GetConfirmStatus({ checkoutId }, settings), to?.signal),
      steps: (to) => run((client, settings) => client.GetCheckoutSteps({ checkoutId }, settings), to?.signal),
      abandon: (to) =>
        run((client, settings) => client.AbandonCheckout({ ...keyOf(to), checkoutId }, settings), to?.signal)
    }
  }

  const start: Shop["checkout"]["start"] = async ({ cartId, checkoutId = newCheckoutId(cartId), currency }, to) => {
    await run(
      (client, settings) => client.StartCheckout({ cartId, currency, ...keyOf(to), checkoutId }, settings),
      to?.signal
    )
    return checkout(checkoutId)
  }

  async function* watch(orderId: string, to?: CallOptions & { readonly afterSeq?: number | undefined }) {
    const site = new Error("called here")
    const requestId = newId()
    const changes = Stream.unwrap(
      Effect.map(StorefrontClient, (client) => client.WatchOrder({ orderId, ...seqOf(to) }, { requestId }))
    ).pipe(Stream.interruptWhen(aborted(to?.signal)))
    try {
      for await (const change of Stream.toAsyncIterableWith(changes, await runtime.context())) yield plain(change)
    } catch (error) {
      throw explained(error, requestId, site)
    }
  }

  return {
    cart,
    checkout: Object.assign(checkout, { start }),
    orders: {
      get: (orderId, to) => run((client, settings) => client.GetOrder({ orderId }, settings), to?.signal),
      list: ({ after, limit } = {}, to) =>
        run(
          (client, settings) =>
            client.ListOrders(
              { ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) },
              settings
            ),
          to?.signal
        ),
      history: (orderId, to) =>
        run((client, settings) => client.GetHistory({ orderId, ...seqOf(to) }, settings), to?.signal),
      watch
    },
    token: () => run((client) => client.token, undefined),
    close: () => runtime.dispose(),
    [Symbol.asyncDispose]: () => runtime.dispose()
  }
}

const keyOf = (options: CommandOptions | undefined) => (options?.key === undefined ? {} : { key: options.key })

const seqOf = (options: { readonly afterSeq?: number | undefined } | undefined) =>
  options?.afterSeq === undefined ? {} : { afterSeq: options.afterSeq }

const aborted = (signal: AbortSignal | undefined): Effect.Effect<void> =>
  signal === undefined
    ? Effect.never
    : Effect.callback<void>((resume) => {
        const stop = () => resume(Effect.void)
        if (signal.aborted) stop()
        else signal.addEventListener("abort", stop, { once: true })
        return Effect.sync(() => signal.removeEventListener("abort", stop))
      })

const plain = <T>(value: T): Plain<T> => {
  const convert = (part: unknown): unknown => {
    if (DateTime.isDateTime(part)) return DateTime.toDate(part)
    if (Array.isArray(part)) return part.map(convert)
    if (typeof part !== "object" || part === null) return part
    return Object.fromEntries(Object.entries(part).map(([name, field]) => [name, convert(field)]))
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as the type says, field by field
  return convert(value) as Plain<T>
}
