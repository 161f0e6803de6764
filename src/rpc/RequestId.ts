/** Names one request from the storefront to the last log line about it. REQ-API-07, REQ-GW-05. */
import { randomUUID } from "node:crypto"
import type { Headers } from "effect/http"

export const requestIdHeader = "x-request-id"

const wellFormed = /^[\w.:-]{8,128}$/

/** The sender's own id where it is well formed; a new one otherwise. */
export const requestIdOf = (headers: Headers.Headers): string => {
  const sent = headers[requestIdHeader]
  return sent !== undefined && wellFormed.test(sent) ? sent : newRequestId()
}

export const newRequestId = (): string => randomUUID()
