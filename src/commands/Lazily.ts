import { Command } from "effect/cli"

/** A command known by name and purpose; the rest of it is loaded when it is asked for. */
export interface Listed<R> {
  readonly name: string
  readonly about: string
  // oxlint-disable-next-line typescript/no-explicit-any -- a command is invariant in its name, and these stand in one list
  readonly load: () => Promise<Command.Command<any, never, unknown, unknown, R>>
}

/** Loads the commands which `words` name: those of a program's arguments. The others stand in the list of commands, and no more. */
export const lazily = <R>(commands: ReadonlyArray<Listed<R>>, words: ReadonlyArray<string>) =>
  Promise.all(
    commands.map(({ about, load, name }) =>
      // A shell's completions tell the flags of all of them.
      words.includes(name) || words.includes("--completions")
        ? load()
        : Promise.resolve(Command.make(name).pipe(Command.withDescription(about)))
    )
  )
