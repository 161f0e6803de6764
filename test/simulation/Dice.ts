/** Chance which can be had again: everything random in a simulation comes from one seed. */
export interface Dice {
  /** From 0 up to, but not, 1. */
  readonly next: () => number
  /** A whole number below `limit`. */
  readonly below: (limit: number) => number
  /** A whole number, both ends included. */
  readonly between: (least: number, most: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  /** Others of their own, which a change in how often these are thrown leaves as they are. */
  readonly fork: (name: string) => Dice
}

const mix = (hash: number, text: string): number => {
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Mulberry32: 32 bits of state, fast, and good enough to pick an order. */
const fromState = (start: number): Dice => {
  let state = start
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return ((word ^ (word >>> 14)) >>> 0) / 0x1_0000_0000
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (probability) => next() < probability,
    pick: (from) => from[below(from.length)]!,
    fork: (name) => fromState(mix(start ^ 0x811c9dc5, name))
  }
}

export const diceOf = (seed: number): Dice => fromState(mix(0x811c9dc5, String(seed)))
