/** Ids of actors which are several to one process, and live where it does. */

/** What stands before it in an id places the actor: `checkout-1~refund:1` lives with `checkout-1`. No id of a client has it. */
export const placementMark = "~"

/** The id of one of a process's actors of a kind. */
export const placedId = (process: string, name: string): string => `${process}${placementMark}${name}`
