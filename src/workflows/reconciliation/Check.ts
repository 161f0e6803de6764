/**
 * One thing that reconciliation looks at, a page at a time. A new one is one such object in a list; what it found, and where it is, is
 * written down by whoever runs it. REQ-REC-04.
 */
import type { DateTime, Effect } from "effect"
import type { HashedReference } from "../../domain/HashedReference.ts"
import type { AlertSeverity } from "../../entities/alert/Alert.ts"

/** `corrected`: it is as it should be again. `raised`: somebody has to look at it. */
export type Outcome = "corrected" | "raised"

export interface Finding {
  /** The id of what is wrong; a second finding about the same in one run is the same one. */
  readonly subject: string
  readonly outcome: Outcome
  /** What was met, and what should be there. No authorization, token or name of a customer. */
  readonly text: string
  readonly orderId?: string
  readonly amount?: bigint
  readonly currency?: string
  readonly authorization?: HashedReference
}

/** The run on whose behalf a check looks. */
export interface Run {
  readonly id: string
  /** When it was asked for: the same for all of its pages, on whichever node. */
  readonly askedAt: DateTime.Utc
  /** Things to look at at once. */
  readonly limit: number
}

export interface Page {
  readonly examined: number
  readonly findings: ReadonlyArray<Finding>
  /** Where the next page begins; undefined when this was the last one. */
  readonly next: string | undefined
}

/** Which are looked at together, and how often, is configured. */
export type CheckGroup = "stock" | "consistency" | "payments" | "provider"

export interface Check {
  readonly group: CheckGroup
  /** Lower case with underscores: it names reports, alerts and figures, and is never renamed. */
  readonly name: string
  readonly severity: AlertSeverity
  /** What is the matter with what it finds; completes "3 found: ...". */
  readonly about: string
  /** One alert for all that is found, with their ids, or one for each. */
  readonly alerts: "together" | "each"
  /** Safe to repeat: a page is looked at again when its node died. Fails only with what passes, or is a bug. */
  readonly page: (run: Run, place: string | undefined) => Effect.Effect<Page, { readonly _tag: string }>
}
