/** Answers operators: lists from the tables, everything else by the actor it is about. Who may call is OperatorAccess's business. */
import { Effect, Layer } from "effect"
import { Alert } from "../../entities/alert/Alert.ts"
import { AlertList } from "../../projections/AlertList.ts"
import { AuditList } from "../../projections/AuditList.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Operator } from "./OperatorAccess.ts"
import * as OperatorAccessHandlers from "./OperatorAccessHandlers.ts"
import { OperatorRpc } from "./OperatorRpc.ts"

const pageSize = 20

const handlers = OperatorRpc.toLayer(
  Effect.gen(function* () {
    const placement = yield* Placement
    const auditList = yield* AuditList
    const alertList = yield* AlertList
    const alerts = placement.client(Alert)

    return OperatorRpc.of({
      ListAudit: ({ limit, ...request }) => auditList.page({ ...request, limit: limit ?? pageSize }),
      ListAlerts: ({ limit, ...request }) => alertList.page({ ...request, limit: limit ?? pageSize }),
      GetAlert: ({ id }) => alerts(id).GetAlert(),
      AcknowledgeAlert: ({ id, key }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Acknowledge({ key, by })),
      ClearAlert: ({ id, key, reason }) => Effect.flatMap(Operator, ({ by }) => alerts(id).Clear({ key, by, reason }))
    })
  })
)

/** The calls, and the door in front of them. */
export const layer = handlers.pipe(
  Layer.provide([AuditList.layer, AlertList.layer]),
  Layer.provideMerge(OperatorAccessHandlers.layer)
)
