/** `cartwright settings`: every setting with its value, and `docs/configuration.md`, which is made from the same table. */
import { Config as EffectConfig, Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { chapters, type Setting } from "../layers/Settings.ts"

export const settingsCommand = Command.make(
  "settings",
  {
    markdown: Flag.Boolean("markdown").pipe(
      Flag.withDescription("The documentation instead: what docs/configuration.md holds"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("commands.settings")(function* ({ markdown }) {
    if (markdown) return yield* Console.log(asMarkdown().trimEnd())
    for (const { settings, title } of chapters) {
      yield* Console.log(`\n${title}\n`)
      for (const [key, setting] of Object.entries(settings)) {
        const given = yield* Effect.orElseSucceed(EffectConfig.option(EffectConfig.String(key)), Option.none)
        yield* Console.log(`  ${key.padEnd(30)} ${valueOf(setting, given)}\n      ${setting.about}`)
      }
    }
    yield* Console.log(
      "\n* given in the environment. Durations read like 250 millis, 25 seconds, 30 minutes or 7 days."
    )
  })
).pipe(Command.withDescription("List every setting with its value, its default and its meaning"))

const valueOf = ({ absent, secret }: Setting<unknown>, given: Option.Option<string>): string => {
  if (Option.isSome(given)) return `${secret ? "(secret)" : given.value} *`
  switch (absent._tag) {
    case "Refused":
      return "(must be given)"
    case "Default":
      return absent.text
    case "Otherwise":
      return `(${absent.otherwise})`
  }
}

/** The whole of `docs/configuration.md`. */
export const asMarkdown = (): string => `# Configuration

A node reads its settings from environment variables when it starts, checks all of them, and ends with a list of what is missing or wrong
before it serves anybody. \`npm start\` alone needs none: it brings a database, a payment sandbox and secrets along. Flags of
\`cartwright node\` go before the environment. \`cartwright settings\` lists everything below with the values of the place where it is run.

Durations are written like \`250 millis\`, \`25 seconds\`, \`30 minutes\` or \`7 days\`, sizes like \`1 MiB\`. A setting without a default must be
given. Numbers in the last column refer to the list of requirements.

This page is made by \`cartwright settings --markdown > docs/configuration.md\` from the table which the program itself uses; a test compares
the two.

${chapters.map(chapterOf).join("\n")}`

const chapterOf = ({ settings, title }: (typeof chapters)[number]): string =>
  [
    `## ${title}`,
    "",
    "| Setting | Default | Meaning | From |",
    "| --- | --- | --- | --- |",
    ...Object.entries(settings).map(([key, setting]) =>
      row([`\`${key}\``, defaultOf(setting), `${setting.about}${formOf(setting)}`, setting.source ?? ""])
    ),
    ""
  ].join("\n")

const row = (cells: ReadonlyArray<string>): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`

const defaultOf = ({ absent }: Setting<unknown>): string => {
  switch (absent._tag) {
    case "Refused":
      return "must be given"
    case "Default":
      return `\`${absent.text}\``
    case "Otherwise":
      return `none: ${absent.otherwise}`
  }
}

/** What a duration or a port looks like is said once, above. */
const formOf = ({ form }: Setting<unknown>): string =>
  /^(a duration|a size|true or false|text$)/.test(form) ? "" : ` Must be ${form}.`
