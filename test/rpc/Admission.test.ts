import { assert, describe, it } from "@effect/vitest"
import { callerOf, Places } from "../../src/rpc/Admission.ts"

/** Calls of as many callers, one each; gives how many were taken on. */
const crowd = (places: Places, callers: number, prefix = "customer"): number => {
  let taken = 0
  for (let index = 0; index < callers; index++) {
    if (places.refusal(`${prefix} ${index}`) !== undefined) continue
    places.enter(`${prefix} ${index}`)
    taken++
  }
  return taken
}

const leaveAll = (places: Places, callers: number) => {
  for (let index = 0; index < callers; index++) places.leave(`customer ${index}`)
}

describe("given work which waits for longer than it may", () => {
  it("when that goes on, then places shrink to a few, and the rest is refused with growing pauses", () => {
    const places = new Places(4000)
    let longest = 0
    for (let round = 0; round < 30; round++) {
      const taken = crowd(places, 1000)
      longest = Math.max(longest, places.refusal("one more")!.retryAfterMs)
      places.adapt(100, 25)
      leaveAll(places, taken)
    }
    assert.strictEqual(places.limit, 64)
    assert.strictEqual(crowd(places, 1000), 64)
    assert.isAbove(longest, 2000)
    assert.isAtMost(longest, 5000)
  })

  it("when nothing waits any more, then there are as many places as before, and more as they are wanted", () => {
    const places = new Places(4000)
    for (let round = 0; round < 30; round++) places.adapt(100, 25)
    assert.strictEqual(places.limit, 64)
    for (let round = 0; round < 60; round++) {
      const taken = crowd(places, 4000)
      places.adapt(0, 25)
      leaveAll(places, taken)
    }
    assert.strictEqual(places.limit, 4000)
  })
})

describe("given a queue which only shows in how long calls take", () => {
  it("when even the quickest takes long, then places shrink; when one is quick, or all wait for somebody else, they do not", () => {
    const places = new Places(4000)
    const rounds = (took: ReadonlyArray<number | undefined>) => {
      for (let round = 0; round < 30; round++) {
        const taken = crowd(places, 1000)
        for (let index = 0; index < taken; index++) places.leave(`customer ${index}`, took[index % took.length])
        places.adapt(0, 25)
      }
    }
    rounds([140, 600, undefined])
    assert.strictEqual(places.limit, 64)
    rounds([600, 110])
    assert.isAbove(places.limit, 500)
    rounds([undefined])
    assert.isAbove(places.limit, 1000)
  })
})

describe("given one caller who sends most calls", () => {
  it("when it has a quarter of the places, then it gets no more, and others do", () => {
    const places = new Places(100)
    let taken = 0
    while (places.refusal("greedy") === undefined) {
      places.enter("greedy")
      taken++
    }
    assert.strictEqual(taken, 25)
    assert.strictEqual(crowd(places, 1000), 75)
  })

  it("when a few such callers have all places but a fifth, then the rest is for those who have none", () => {
    const places = new Places(100)
    for (const name of ["one", "two", "three", "four", "five"]) {
      while (places.refusal(name) === undefined) places.enter(name)
    }
    // The fifth had none when it came.
    assert.strictEqual(places.inFlight, 81)
    assert.strictEqual(crowd(places, 1000), 19)
  })

  it("when its calls have ended, then it may have as many again", () => {
    const places = new Places(100)
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 25; index++) places.enter("greedy")
      assert.isDefined(places.refusal("greedy"))
      for (let index = 0; index < 25; index++) places.leave("greedy")
      assert.isUndefined(places.refusal("greedy"))
      assert.strictEqual(places.inFlight, 0)
    }
  })
})

describe("given a caller whose calls can never be carried out", () => {
  /** How many of so many calls are let in, a call each millisecond. */
  const letIn = (places: Places, calls: number, kind: "conflict" | "fault") => {
    let taken = 0
    for (let sent = 1; sent <= calls; sent++) {
      if (places.refusal("poisonous") === undefined) {
        places.enter("poisonous")
        taken++
        places.leave("poisonous")
        places.blame("poisonous", kind)
      }
      if (sent % 100 === 0) places.adapt(0, 25)
    }
    return taken
  }

  it("when it sends them all the time, then few are let in, and it hears when to come back", () => {
    const faults = letIn(new Places(4000), 10_000, "fault")
    assert.isAtLeast(faults, 25)
    assert.isAtMost(faults, 35)
    const conflicts = letIn(new Places(4000), 10_000, "conflict")
    assert.isAtLeast(conflicts, 250)
    assert.isAtMost(conflicts, 350)
    const places = new Places(4000)
    letIn(places, 50, "fault")
    assert.strictEqual(places.refusal("poisonous")?.retryAfterMs, 1000)
  })

  it("when it sends them, then nobody else is refused, nor told to wait for longer", () => {
    const places = new Places(4000)
    letIn(places, 10_000, "fault")
    assert.isDefined(places.refusal("poisonous"))
    assert.strictEqual(crowd(places, 512), 512)
    assert.strictEqual(places.refusal("one more")?.retryAfterMs, 250)
  })

  it("when it has stopped for some seconds, then its calls are let in as any others", () => {
    const places = new Places(4000)
    letIn(places, 1000, "fault")
    for (let tenth = 0; tenth < 60; tenth++) places.adapt(0, 25)
    assert.strictEqual(letIn(places, 10, "fault"), 10)
  })
})

it("given the headers of a call, then the token says who calls, whatever else is there", () => {
  assert.strictEqual(callerOf([]), "")
  assert.strictEqual(
    callerOf([
      ["x-customer-id", "a"],
      ["Authorization", "Bearer one"],
      ["authorization", "Bearer two"]
    ]),
    "Bearer two"
  )
})
