/** For servers: what stands in a log line, an alert or an answer instead of a secret. REQ-SEC-02. */
import { createHash } from "node:crypto"
import { HashedReference } from "./HashedReference.ts"

/** The same secret has the same one everywhere, so that a line can be found by it. */
export const hashedReference = (secret: string): HashedReference =>
  HashedReference.make(`sha256:${createHash("sha256").update(secret).digest("hex").slice(0, 12)}`)
