/** Failures a person can do something about, told in a sentence and without a stack. */
import { Effect, Predicate } from "effect"
import { CliError } from "effect/cli"

/** Every failure becomes its message. What nobody planned for is a defect, and keeps its stack. */
export const explained = <A, E extends { readonly _tag: string; readonly message: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, CliError.UserError, R> =>
  Effect.mapError(effect, (error) => new CliError.UserError({ cause: sentence(error) }))

const sentence = (error: { readonly _tag: string; readonly message: string }): string => {
  const cause = innermost(error)
  switch (error._tag) {
    case "ServeError":
      return cause.code === "EADDRINUSE"
        ? `Port ${cause.port} is taken: this node needs another one (--port or HTTP_PORT, --health-port or HEALTH_PORT).`
        : `This node cannot listen: ${cause.message} (HTTP_HOST, HTTP_PORT, HEALTH_PORT).`
    case "SqlError":
    case "MigrationError":
      return cause.message === "" || cause.message === error.message
        ? `The database: ${error.message}`
        : `The database: ${error.message}: ${cause.message}`
    default:
      return error.message
  }
}

interface Innermost {
  readonly message: string
  readonly code?: string
  readonly port?: number
}

/** What an error was caused by, and that by, to the end. */
const innermost = (error: unknown): Innermost => {
  if (!Predicate.isObject(error)) return { message: "" }
  const { cause, reason } = error as { readonly cause?: unknown; readonly reason?: unknown }
  const deeper = cause ?? reason
  if (Predicate.isObject(deeper) && deeper !== error) return innermost(deeper)
  const { code, message, port } = error as { readonly code?: unknown; readonly message?: unknown; readonly port?: unknown }
  return {
    message: typeof message === "string" ? message : "",
    ...(typeof code === "string" ? { code } : {}),
    ...(typeof port === "number" ? { port } : {})
  }
}
