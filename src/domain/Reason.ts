import { Schema } from "effect"

/** A person's own words for the record: why something was closed or changed by hand. */
export const Reason = Schema.String.check(
  Schema.isMinLength(3),
  Schema.isMaxLength(500),
  Schema.isPattern(/^[^\p{Cc}\p{Cs}]*$/u)
)
