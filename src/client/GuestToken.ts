/** How somebody who has not signed in gets a token. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { httpUrl } from "./Nodes.ts"

export interface GuestToken {
  readonly token: string
  readonly customerId: string
  readonly expiresAt: Date
}

/** A new guest, of whichever node answers first when asked in turn. */
export const askForGuestToken = (urls: ReadonlyArray<string>): Effect.Effect<GuestToken, unknown> =>
  Effect.firstSuccessOf(urls.map((url) => Effect.timeout(ask(httpUrl(url)), "5 seconds")))

/** A new guest's token, for a page to keep: it owns the guest's carts until the guest signs in and merges them. */
export const guestToken = (urls: string | ReadonlyArray<string>): Promise<GuestToken> =>
  Effect.runPromise(askForGuestToken(typeof urls === "string" ? [urls] : urls))

const Answer = Schema.Struct({ token: Schema.String, customerId: Schema.String, expiresAt: Schema.DateFromString })

const ask = (url: string) =>
  Effect.tryPromise(async (signal): Promise<unknown> => {
    const response = await fetch(`${url}/auth/guest`, { method: "POST", signal })
    if (!response.ok) throw new Error(`${url}/auth/guest answered ${response.status}`)
    return await response.json()
  }).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Answer)))
