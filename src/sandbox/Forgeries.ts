/**
 * Webhooks which a shop must refuse: what somebody could send who knows the shop's address, has seen genuine ones, and does not have its
 * secret. Made from a genuine body.
 */
import { signatureHeader } from "./Signature.ts"

/** What is sent instead of the genuine one. */
export interface Forgery {
  readonly kind: ForgeryKind
  readonly body: string
  /** Absent where none is sent. */
  readonly signature: string | undefined
}

export const forgeryKinds = [
  "wrong_secret",
  "changed_by_a_byte",
  "changed_id",
  "signature_of_another_body",
  "stale",
  "from_the_future",
  "unsigned",
  "malformed_header",
  "empty_signature",
  "old_scheme_only",
  "timestamp_changed"
] as const
export type ForgeryKind = (typeof forgeryKinds)[number]

/** `now` is in seconds. Those which are only old or early are signed with the right secret. */
export const forge = (kind: ForgeryKind, body: string, secret: string, now: number): Forgery => {
  const genuine = signatureHeader(body, secret, now)
  const of = (signature: string | undefined, changed = body): Forgery => ({ kind, body: changed, signature })
  switch (kind) {
    case "wrong_secret":
      return of(signatureHeader(body, `${secret}x`, now))
    case "changed_by_a_byte":
      return of(
        genuine,
        body.replace(/"amount":(\d)/, (_, digit: string) => `"amount":${(Number(digit) + 1) % 10}`).replace(/}$/, " }")
      )
    case "changed_id":
      return of(genuine, body.replace(/"id":"evt_/, '"id":"evt_x'))
    case "signature_of_another_body":
      return of(signatureHeader(`${body} `, secret, now))
    case "stale":
      return of(signatureHeader(body, secret, now - 360))
    case "from_the_future":
      return of(signatureHeader(body, secret, now + 360))
    case "unsigned":
      return of(undefined)
    case "malformed_header":
      return of("t=,v1")
    case "empty_signature":
      return of(`t=${now},v1=`)
    case "old_scheme_only":
      return of(genuine.replace(",v1=", ",v0="))
    case "timestamp_changed":
      return of(signatureHeader(body, secret, now - 360).replace(/^t=\d+/, `t=${now}`))
  }
}
