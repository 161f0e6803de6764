/** A random id, for keys and for what the client creates. Pages without TLS have no `randomUUID`. */
export const newId = (): string => {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID()
  const digits = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"))
  return digits.join("")
}
