import { besideId } from "../domain/Placed.ts"

/** A random id, for keys and for what the client creates. Pages without TLS have no `randomUUID`. */
export const newId = (): string => {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID()
  const digits = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"))
  return digits.join("")
}

/**
 * A random id for a checkout of this cart. Any other id works as well; with this one cart and checkout live on the same node of a cluster, and
 * a confirmation costs about half as much there.
 */
export const newCheckoutId = (cartId: string): string => besideId(newId(), cartId)
