/** All groups joined: the public contract, and the whole list of ways in which a call may be refused. */
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { CustomerApi } from "./CustomerApi.ts"
import { OperatorRpc } from "./operator/OperatorRpc.ts"

export class Api extends CustomerApi.merge(OperatorRpc) {}

export type ApiRpc = RpcGroup.Rpcs<typeof Api>

/** Everything a call may be refused with. Its `_tag` is the stable code of REQ-API-08. */
export type Refusal = Rpc.ErrorExit<ApiRpc>
export type RefusalCode = Refusal["_tag"]
