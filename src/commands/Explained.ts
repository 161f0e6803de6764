/** Failures a person can do something about, told in a sentence and without a stack. */
import { Effect } from "effect"
import { CliError } from "effect/cli"
import { innermostDetailsOf } from "../layers/ErrorDetails.ts"

/** Every failure becomes its message. What nobody planned for is a defect, and keeps its stack. */
export const explained = <A, E extends { readonly _tag: string; readonly message: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, CliError.UserError, R> =>
  Effect.mapError(effect, (error) => new CliError.UserError({ cause: sentence(error) }))

const sentence = (error: { readonly _tag: string; readonly message: string }): string => {
  const cause = innermostDetailsOf(error)
  switch (error._tag) {
    case "ServeError":
      return cause.code === "EADDRINUSE"
        ? `Port ${cause.port} is taken: this node needs another one (--port or HTTP_PORT, --health-port or HEALTH_PORT).`
        : `This node cannot listen: ${cause.message} (HTTP_HOST, HTTP_PORT, HEALTH_PORT).`
    case "SqlError":
    case "MigrationError":
      return cause.message === undefined || cause.message === error.message
        ? `The database: ${error.message}`
        : `The database: ${error.message}: ${cause.message}`
    default:
      return error.message
  }
}
