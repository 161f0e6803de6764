/** Where in a cluster an id lives, and ids which live where another one does. */

/** What stands before it in an id places the actor: `checkout-1~refund:1` lives with `checkout-1`. No id of a client has it. */
export const placementMark = "~"

/** The id of one of a process's actors of a kind. */
export const placedId = (process: string, name: string): string => `${process}${placementMark}${name}`

/** What an id ends with that lives beside another one: the other's place. */
const besideMark = "-at-"
const digits = 8

/** An id whose actors share a node with those of the other: what happens between the two is no call from node to node. */
export const besideId = (id: string, other: string): string =>
  `${id}${besideMark}${placeOf(other).toString(16).padStart(digits, "0")}`

const mark = placementMark.charCodeAt(0)

/** A number of 32 bits: FNV-1a of what stands before the placement mark, unless that names a place itself. The same for every node and version. */
export const placeOf = (id: string): number => {
  let hash = 0x811c9dc5
  let length = 0
  for (; length < id.length; length++) {
    const code = id.charCodeAt(length)
    if (code === mark) break
    hash = Math.imul(hash ^ code, 0x01000193)
  }
  return (
    (id.startsWith(besideMark, length - digits - besideMark.length)
      ? named(id.slice(length - digits, length))
      : undefined) ?? hash >>> 0
  )
}

const named = (place: string): number | undefined =>
  /^[0-9a-f]{8}$/.test(place) ? Number.parseInt(place, 16) : undefined
