/**
 * Keeps the sandbox's state over a restart: one line of JSON for each change, in a file that only grows. A line is written before its
 * answer is sent, so whatever was answered is found again after the process was killed; after a power cut it may not be, nothing is
 * synced. A last line which was cut off half-way is dropped.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs"
import { join } from "node:path"
import { StringDecoder } from "node:string_decoder"
import { Effect, Schema } from "effect"
import type { Scope } from "effect"
import type { Change, PaymentProvider } from "./PaymentProvider.ts"

/** The file is there and cannot be used: closed to us, or with a damaged line before its last one. */
export class LedgerFileUnusable extends Schema.TaggedError<LedgerFileUnusable>()("LedgerFileUnusable", {
  message: Schema.String
}) {}

/** Restores what the file in `directory` tells, and writes everything that changes from now on. */
export const open = (
  provider: PaymentProvider["Service"],
  directory: string
): Effect.Effect<void, LedgerFileUnusable, Scope.Scope> =>
  Effect.gen(function* () {
    const path = join(directory, "ledger.jsonl")
    let closed = false
    const file = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          mkdirSync(directory, { recursive: true })
          return openSync(path, "a+", 0o600)
        },
        catch: (cause) =>
          new LedgerFileUnusable({ message: `Cannot keep the sandbox's ledger in ${path}: ${String(cause)}` })
      }),
      (opened) =>
        Effect.sync(() => {
          closed = true
          closeSync(opened)
        })
    )
    const complete = yield* Effect.try({
      try: () => readLines(file, (line) => provider.restore(decode(line))),
      catch: (cause) =>
        new LedgerFileUnusable({ message: `${path} is damaged; move it away to start anew: ${String(cause)}` })
    })
    // Else the next line would be glued to the torn one.
    ftruncateSync(file, complete)
    provider.observe({
      changed: (change) => {
        // Work which a fault delayed past the end of the sandbox has nobody to answer to.
        if (!closed) writeSync(file, `${encode(change)}\n`)
      },
      reset: () => ftruncateSync(file, 0)
    })
  })

/** Hands over each complete line, and tells how many bytes they are. */
const readLines = (file: number, each: (line: string) => void): number => {
  const chunk = Buffer.allocUnsafe(1 << 20)
  const decoder = new StringDecoder("utf8")
  let position = 0
  let complete = 0
  let rest = ""
  for (;;) {
    const size = readSync(file, chunk, 0, chunk.length, position)
    if (size === 0) return complete
    const lastBreak = chunk.subarray(0, size).lastIndexOf(10)
    if (lastBreak >= 0) complete = position + lastBreak + 1
    position += size
    const lines = (rest + decoder.write(chunk.subarray(0, size))).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) each(line)
  }
}

/** Most stored answers show the intent as the same change left it: written once, as `sameIntent`. */
type Line = Omit<Change, "stored"> & {
  readonly stored?: NonNullable<Change["stored"]> & { readonly sameIntent?: boolean }
}

const encode = ({ stored, ...change }: Change): string => {
  if (stored === undefined) return JSON.stringify(change)
  const { content } = stored.answer
  if (content._tag !== "Intent" || content.intent !== change.intent) return JSON.stringify({ ...change, stored })
  const answer = { ...stored.answer, content: { ...content, intent: undefined } }
  return JSON.stringify({ ...change, stored: { ...stored, answer, sameIntent: true } })
}

const decode = (text: string): Change => {
  // Ours alone writes this file, and a million lines should take seconds: no schema.
  const line: Line = JSON.parse(text)
  const { stored, ...change } = line
  if (stored === undefined) return { ...change, stored }
  const { sameIntent, ...kept } = stored
  const { content } = kept.answer
  return sameIntent === true && content._tag === "Intent" && change.intent !== undefined
    ? { ...change, stored: { ...kept, answer: { ...kept.answer, content: { ...content, intent: change.intent } } } }
    : { ...change, stored: kept }
}
