/** What may be shown of a secret such as an authorization's id: enough to find it again, too little to use it. REQ-SEC-02. */
import { Schema } from "effect"

/** The first twelve digits of its SHA-256. */
export const HashedReference = Schema.String.check(Schema.isPattern(/^sha256:[0-9a-f]{12}$/)).pipe(
  Schema.brand("HashedReference")
)
export type HashedReference = typeof HashedReference.Type
