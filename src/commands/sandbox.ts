/** `cartwright sandbox`: the payment provider to develop against, on its own. */
import { Console, Effect, Option } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import * as Sandbox from "../sandbox/Sandbox.ts"
import { testTokensAsMarkdown } from "../sandbox/TestTokens.ts"

const port = Flag.Int("port").pipe(
  Flag.withDescription("Port to listen on; 0 takes a free one"),
  Flag.withDefault(4010)
)

const host = Flag.String("host").pipe(
  Flag.withDescription("Address to listen on; any but this machine's own opens the sandbox to the network"),
  Flag.withDefault("127.0.0.1")
)

const directory = Flag.String("directory").pipe(
  Flag.withDescription("Where to keep the ledger over a restart; in memory only without it"),
  Flag.optional
)

const webhookUrl = Flag.String("webhook-url").pipe(
  Flag.withDescription("Where to send signed webhooks; none are sent without it"),
  Flag.optional
)

const webhookSecret = Flag.String("webhook-secret").pipe(
  Flag.withDescription("What webhooks are signed with"),
  Flag.withDefault("whsec_sandbox")
)

export const sandbox = Command.make(
  "sandbox",
  { port, host, directory, webhookUrl, webhookSecret },
  Effect.fn("commands.sandbox")(
    function* (flags) {
      const started = yield* Sandbox.start({
        port: flags.port,
        host: flags.host,
        ...(Option.isSome(flags.directory) ? { directory: flags.directory.value } : {}),
        ...(Option.isSome(flags.webhookUrl)
          ? { webhook: { url: flags.webhookUrl.value, secret: flags.webhookSecret } }
          : {})
      })
      yield* Console.log(manual(started.url))
      return yield* Effect.never
    },
    Effect.scoped,
    Effect.catchTag(["SandboxNotStarted", "LedgerFileUnusable"], ({ message }) =>
      Effect.fail(new CliError.UserError({ cause: message }))
    )
  )
).pipe(Command.withDescription("Run a payment provider to develop against: it speaks Stripe's wire protocol"))

const manual = (url: string): string => `
The payment sandbox answers at ${url}

Pay with it:

  curl ${url}/v1/payment_intents -u sk_test_any: -d amount=4999 -d currency=eur -d capture_method=manual \\
    -d "automatic_payment_methods[enabled]=true" -d "automatic_payment_methods[allow_redirects]=never" \\
    -d payment_method=pm_card_visa -d confirm=true

See what really happened:

  curl ${url}/sandbox/ledger      every payment; ?checkout=<id> those of one checkout
  curl ${url}/sandbox/totals      sums, calls, and checkouts that paid twice

Make it fail, and start anew:

  curl ${url}/sandbox/faults -d '{"operation":"capture","times":2,"fault":{"_tag":"Unavailable"}}'
  curl ${url}/sandbox/faults -d '{"fault":{"_tag":"Down","ms":5000}}'
  curl -X POST ${url}/sandbox/reset

Webhooks, once --webhook-url is given: what was sent, send it again, send forged ones, make all of them late or double:

  curl ${url}/sandbox/webhooks
  curl ${url}/sandbox/webhooks/<evt_...>/resend -d '{"times":20}'
  curl ${url}/sandbox/webhooks/<evt_...>/forge -d '{"kind":"wrong_secret"}'
  curl ${url}/sandbox/webhooks -d '{"copies":2,"delayMs":1000,"reorderWithinMs":500,"forged":true}'

A customer goes to their bank about a captured payment, and the bank decides:

  curl ${url}/sandbox/disputes -d '{"payment_intent":"<pi_...>"}'
  curl ${url}/sandbox/disputes/<du_...> -d '{"outcome":"lost"}'

The card decides how a payment goes (also at ${url}/sandbox/tokens):

${testTokensAsMarkdown()}

Ctrl-C stops it.
`
