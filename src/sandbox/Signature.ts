import { createHmac } from "node:crypto"

/** The header which proves that the body is ours. `timestamp` is in seconds. Source: the provider's manual on webhooks. */
export const signatureHeader = (body: string, secret: string, timestamp: number): string =>
  `t=${timestamp},v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`
