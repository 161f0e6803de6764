import { Schema } from "effect"

/**
 * Why there is no embedded Postgres. `message` is written for the person at the terminal: it names the folder, port or
 * program, and says what to do about it.
 *
 * - `NoPrograms`: no Postgres for this machine, or npm did not finish installing it.
 * - `NotAccessible`: a folder is closed to the account Postgres runs as.
 * - `OtherVersion`: the data was written by another major version.
 * - `PortInUse`: the port asked for is taken by something else.
 * - `DataInUse`: another server seems to hold the data, and stayed unreachable all the time we waited.
 * - `NotStarted`, `NotStopped`: Postgres refused; its own words are in the message.
 * - `TimedOut`: a program did not end in time.
 * - `Unreachable`: it runs, and a connection or statement of ours failed.
 */
export class EmbeddedPostgresError extends Schema.TaggedError<EmbeddedPostgresError>()("EmbeddedPostgresError", {
  reason: Schema.Literals([
    "NoPrograms",
    "NotAccessible",
    "OtherVersion",
    "PortInUse",
    "DataInUse",
    "NotStarted",
    "NotStopped",
    "TimedOut",
    "Unreachable"
  ]),
  message: Schema.String
}) {}
