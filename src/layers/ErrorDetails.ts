import { Predicate } from "effect"

/** What errors of Node and of the database driver say, where they say it. */
export interface ErrorDetails {
  readonly code?: string
  readonly message?: string
  readonly port?: number
}

/** Of anything that was thrown. */
export const detailsOf = (thrown: unknown): ErrorDetails => ({
  ...(Predicate.hasProperty(thrown, "code") && typeof thrown.code === "string" ? { code: thrown.code } : {}),
  ...(Predicate.hasProperty(thrown, "message") && typeof thrown.message === "string"
    ? { message: thrown.message }
    : {}),
  ...(Predicate.hasProperty(thrown, "port") && typeof thrown.port === "number" ? { port: thrown.port } : {})
})

/** Of what an error was caused by, and that by, to the end. */
export const innermostDetailsOf = (thrown: unknown): ErrorDetails => {
  const deeper =
    (Predicate.hasProperty(thrown, "cause") ? thrown.cause : undefined) ??
    (Predicate.hasProperty(thrown, "reason") ? thrown.reason : undefined)
  return Predicate.isObject(deeper) && deeper !== thrown ? innermostDetailsOf(deeper) : detailsOf(thrown)
}
