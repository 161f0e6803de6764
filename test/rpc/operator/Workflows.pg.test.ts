import { Duration, Effect, Layer, ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { layer as allHandlers } from "../../../src/layers/Handlers.ts"
import { PaymentProvider } from "../../../src/sandbox/PaymentProvider.ts"
import { type EdgeNode, startEdgeOver, tokenFor } from "../../fixtures/Edge.ts"
import { eventually } from "../../fixtures/Eventually.ts"
import * as Shop from "../../fixtures/Shop.ts"
import { call } from "../../fixtures/Wire.ts"

const { checkout } = Shop.quickLimits
const runtime = ManagedRuntime.make(
  Shop.layer({
    ...Shop.quickLimits,
    checkout: {
      ...checkout,
      syncWait: Duration.millis(300),
      captureBackoff: { base: Duration.hours(1), cap: Duration.hours(1) }
    }
  })
)
let node: EdgeNode
let olga: string
beforeAll(async () => {
  const services = await runtime.context()
  node = await startEdgeOver(Layer.provide(allHandlers, Layer.succeedContext(services)))
  olga = await tokenFor("olga", { role: "operator" })
})
afterAll(async () => {
  await node.stop()
  await runtime.dispose()
})

interface Summary {
  readonly id: string
  readonly workflow: string
  readonly status: string
  readonly businessKey: string
}

const list = async (query: object): Promise<ReadonlyArray<Summary>> =>
  (await call(node, "ListWorkflows", query, olga)).value.workflows

const refusal = (error: object) => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: expect.objectContaining(error) }]
})

/** An order whose capture has failed, and will be tried again in an hour. */
const waiting = () =>
  runtime.runPromise(
    Effect.gen(function* () {
      yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }])
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      const { faults } = yield* PaymentProvider
      faults.inject({ operation: "capture", times: 1, fault: { _tag: "Unavailable" } })
      yield* Effect.ignore(confirm())
      yield* eventually(
        Effect.promise(() => list({ businessKey: checkoutId, status: "suspended" })),
        (found) => found.length === 1
      )
      return checkoutId
    })
  )

describe("given an order whose capture is tried again in an hour", () => {
  it("when an operator looks for it, then its process is found, with what it has done and when it goes on", async () => {
    const order = await waiting()
    const [found, ...others] = await list({ businessKey: order })
    expect(others).toEqual([])
    expect(found).toMatchObject({
      workflow: "CapturePayment",
      status: "suspended",
      businessKey: order,
      interrupted: false
    })
    const { value } = await call(node, "GetWorkflow", { id: found!.id }, olga)
    expect(value).toMatchObject({
      ...found,
      bodyUnderWay: false,
      steps: [{ kind: "clock", name: "before-retry-1", attempt: 1, ordinal: 1 }]
    })
    expect(JSON.parse(value.payload)).toEqual({ orderId: order, attempt: 1 })
    expect(value.steps[0]).not.toHaveProperty("endedAt")
    const sleeps = Date.parse(value.wakesAt) - Date.parse(value.createdAt)
    expect(sleeps).toBeGreaterThan(3_500_000)
    expect(sleeps).toBeLessThan(3_700_000)
    expect(await list({ businessKey: order, workflow: "PaymentCompensation" })).toEqual([])
    expect(await list({ businessKey: order, status: "completed" })).toEqual([])
    expect(await list({ businessKey: order, unfinishedForMs: 0 })).toHaveLength(1)
    expect(await list({ businessKey: order, unfinishedForMs: 3_600_000 })).toEqual([])
    expect(await list({ businessKey: order, createdAfter: value.createdAt })).toHaveLength(1)
    expect(await list({ businessKey: order, createdBefore: value.createdAt })).toEqual([])
  })

  it("when an operator resumes it, then it looks, and waits on; when they end it, then it has ended, and both are audited", async () => {
    const order = await waiting()
    const [{ id } = { id: "" }] = await list({ businessKey: order })
    const reason = "The provider has no such payment"
    expect(await call(node, "ResumeWorkflow", { id, reason: "To see whether it moves" }, olga)).toMatchObject({
      _tag: "Success",
      value: { id, businessKey: order }
    })
    expect(await call(node, "InterruptWorkflow", { id, reason }, olga)).toMatchObject({
      _tag: "Success",
      value: { id, interrupted: true }
    })
    await expect.poll(() => list({ businessKey: order, status: "failed" }), { timeout: 10_000 }).toHaveLength(1)
    const { value } = await call(node, "GetWorkflow", { id }, olga)
    expect(value).toMatchObject({
      status: "failed",
      interrupted: true,
      error: "Interrupted",
      steps: [{ outcome: "interrupted" }]
    })
    for (const command of ["ResumeWorkflow", "InterruptWorkflow"]) {
      expect(await call(node, command, { id, reason }, olga)).toEqual(
        refusal({ _tag: "IllegalTransition", status: "failed", command })
      )
    }
    const audited = await runtime.runPromise(
      Effect.flatMap(
        SqlClient,
        (sql) => sql<{ operation: string; actor: string; outcome: string; details: unknown }>`
          select operation, actor, outcome, details from ops.audit where subject = ${id} and operation <> 'GetWorkflow' order by id`
      )
    )
    expect(audited.map(({ actor, operation, outcome }) => [actor, operation, outcome])).toEqual([
      ["olga", "ResumeWorkflow", "done"],
      ["olga", "InterruptWorkflow", "done"],
      ["olga", "ResumeWorkflow", "IllegalTransition"],
      ["olga", "InterruptWorkflow", "IllegalTransition"]
    ])
    expect(audited[1]?.details).toEqual({ id, reason })
  })

  it("when lists are read one at a time, then each process is there once, newest first", async () => {
    const orders = [await waiting(), await waiting(), await waiting()]
    const seen: Array<string> = []
    let after: string | undefined
    do {
      const { value } = await call(node, "ListWorkflows", { limit: 1, ...(after && { after }) }, olga)
      seen.push(...value.workflows.map(({ businessKey }: Summary) => businessKey))
      after = value.next
    } while (after !== undefined)
    expect(seen.slice(0, 3)).toEqual(orders.toReversed())
    expect(new Set(seen).size).toBe(seen.length)
  })
})

describe("given what is no query", () => {
  it.each([
    ["ListWorkflows", { after: "x" }, "after"],
    ["ListWorkflows", { status: "lost" }, "status"],
    ["ListWorkflows", { limit: 0 }, "limit"],
    ["ListWorkflows", { limit: 101 }, "limit"],
    ["ListWorkflows", { workflow: "a'b" }, "workflow"],
    ["ListWorkflows", { businessKey: "" }, "businessKey"],
    ["ListWorkflows", { unfinishedForMs: -1 }, "unfinishedForMs"],
    ["ListWorkflows", { createdAfter: "yesterday" }, "createdAfter"],
    ["GetWorkflow", { id: "no id" }, "id"],
    ["GetWorkflow", { id: "unknown", stepsAfter: -1 }, "stepsAfter"],
    ["InterruptWorkflow", { id: "unknown" }, "reason"]
  ])("when %s is asked for %j, then it is refused and the field named", async (operation, payload, field) => {
    expect(await call(node, operation, payload, olga)).toEqual(refusal({ _tag: "InvalidRequest", field }))
  })
})
