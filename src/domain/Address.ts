/** Postal addresses, checked per country before anything is quoted for them. REQ-CHK-08, REQ-CUS-02. */
import { Schema } from "effect"

/** Text without control characters and halves of surrogate pairs: `jsonb` has no place for all of them. */
const line = (maximum: number) =>
  Schema.String.check(
    Schema.isTrimmed(),
    Schema.isMinLength(1),
    Schema.isMaxLength(maximum),
    Schema.isPattern(/^[^\p{Cc}\p{Cs}]*$/u)
  )

export const Address = Schema.Struct({
  name: line(120),
  line1: line(160),
  line2: Schema.optionalKey(line(160)),
  city: line(80),
  /** State, province or canton where the country uses one. */
  region: Schema.optionalKey(line(80)),
  postalCode: Schema.optionalKey(line(16)),
  /** ISO 3166-1 alpha-2. */
  country: Schema.String.check(Schema.isPattern(/^[A-Z]{2}$/)),
  phone: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^\+?[0-9 ()./-]{5,32}$/)))
})
export type Address = typeof Address.Type

/** What a country asks of an address beyond its shape. Source: Universal Postal Union, addressing systems by country. */
const rules: Readonly<Record<string, { readonly postalCode?: RegExp; readonly region?: true }>> = {
  AT: { postalCode: /^\d{4}$/ },
  AU: { postalCode: /^\d{4}$/, region: true },
  BE: { postalCode: /^\d{4}$/ },
  CA: { postalCode: /^[ABCEGHJ-NPRSTVXY]\d[A-Z] ?\d[A-Z]\d$/i, region: true },
  CH: { postalCode: /^\d{4}$/ },
  DE: { postalCode: /^\d{5}$/ },
  DK: { postalCode: /^\d{4}$/ },
  ES: { postalCode: /^\d{5}$/ },
  FR: { postalCode: /^\d{5}$/ },
  GB: { postalCode: /^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$/i },
  IT: { postalCode: /^\d{5}$/ },
  JP: { postalCode: /^\d{3}-?\d{4}$/ },
  NL: { postalCode: /^\d{4} ?[A-Z]{2}$/i },
  PL: { postalCode: /^\d{2}-\d{3}$/ },
  SE: { postalCode: /^\d{3} ?\d{2}$/ },
  US: { postalCode: /^\d{5}(-\d{4})?$/, region: true }
}

/** The fields which the country's own rules refuse, with what is asked of them; empty when the address will do. */
export const problems = (address: Address): ReadonlyArray<{ readonly field: string; readonly message: string }> => {
  const rule = rules[address.country]
  if (rule === undefined) return []
  const found: Array<{ field: string; message: string }> = []
  if (rule.postalCode !== undefined && !rule.postalCode.test(address.postalCode ?? "")) {
    found.push({ field: "postalCode", message: `not a postal code of ${address.country}` })
  }
  if (rule.region === true && address.region === undefined) {
    found.push({ field: "region", message: `required in ${address.country}` })
  }
  return found
}
