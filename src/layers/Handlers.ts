/** Everything that stands behind the API of a node. */
import { Layer } from "effect"
import { OrderList } from "../projections/OrderList.ts"
import * as OperatorHandlers from "../rpc/operator/OperatorHandlers.ts"
import * as OrdersHandlers from "../rpc/orders/OrdersHandlers.ts"
import * as StorefrontHandlers from "../rpc/storefront/StorefrontHandlers.ts"
import { AuditTrail } from "../runtime/AuditTrail.ts"

export const layer = Layer.mergeAll(StorefrontHandlers.layer, OrdersHandlers.layer, OperatorHandlers.layer).pipe(
  Layer.provide([OrderList.layer, AuditTrail.layer])
)
