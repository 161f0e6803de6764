/**
 * What a customer writes on a bank transfer, so that its money finds its order: a creditor reference, which banks know and whose check
 * digits they verify. Source: ISO 11649, with the check digits of ISO 7064, MOD 97-10.
 */
import { Schema } from "effect"

/** As it is stored: `RF`, two check digits, sixteen digits; no spaces. */
export const TransferReference = Schema.String.check(Schema.isPattern(/^RF\d{18}$/)).pipe(
  Schema.brand("TransferReference")
)
export type TransferReference = typeof TransferReference.Type

/** Letters count from ten, as two digits: `RF` is 2715. */
const checkDigitsOf = (body: string): string => String(98n - (BigInt(`${body}271500`) % 97n)).padStart(2, "0")

/** From eight random bytes: one of 10^16, so that nobody guesses another one's. Digits only, which every keyboard and every bank has. */
export const referenceFrom = (bytes: Uint8Array): TransferReference => {
  const drawn = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
  const body = String(drawn % 10n ** 16n).padStart(16, "0")
  return TransferReference.make(`RF${checkDigitsOf(body)}${body}`)
}

/** What somebody has typed, as it is stored; undefined where a character or a check digit is wrong. */
export const referenceIn = (typed: string): TransferReference | undefined => {
  const text = typed.toUpperCase().replaceAll(/[\s.-]/g, "")
  const digits = text.slice(2).replaceAll("O", "0").replaceAll(/[IL]/g, "1")
  const [, checkDigits, body = ""] = /^(\d{2})(\d{16})$/.exec(digits) ?? []
  return text.startsWith("RF") && checkDigits === checkDigitsOf(body)
    ? TransferReference.make(`RF${digits}`)
    : undefined
}

/** For people, in groups of four: `RF18 5390 0754 7034 0000`. */
export const printed = (reference: string): string => reference.replaceAll(/(.{4})(?=.)/g, "$1 ")
