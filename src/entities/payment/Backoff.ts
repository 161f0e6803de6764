import { Duration } from "effect"

export interface Backoff {
  readonly base: Duration.Duration
  readonly cap: Duration.Duration
}

/** Before retry n (1, 2, 3 ...): base x 2^(n-1), at most the cap. REQ-CAP-01. */
export const backoff = (retry: number, { base, cap }: Backoff): Duration.Duration =>
  Duration.min(Duration.times(base, 2 ** (retry - 1)), cap)
