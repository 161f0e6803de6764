/** Whether a repeated key comes with the same content. */
import { createHash } from "node:crypto"
import { DateTime } from "effect"
import type { Tagged } from "./Actor.ts"

const canonical = (value: unknown): unknown => {
  if (value === null || typeof value !== "object") return typeof value === "bigint" ? value.toString() : value
  if (Array.isArray(value)) return value.map(canonical)
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  // oxlint-disable-next-line unicorn/no-instanceof-builtins -- of this realm: commands are made here
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Map || value instanceof Set) return [...value].map(canonical)
  const record = value as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    Object.keys(record)
      .filter((name) => record[name] !== undefined)
      .sort()
      .map((name) => [name, canonical(record[name])])
  )
}

/** The content of a command in a form which does not depend on the order of its fields. */
export const fingerprintOf = (command: Tagged): string =>
  createHash("sha256")
    .update(JSON.stringify(canonical(command)))
    .digest("base64url")
    .slice(0, 22)
