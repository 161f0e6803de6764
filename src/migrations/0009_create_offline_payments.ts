/**
 * Cash on delivery and bank transfers. Nodes of the version before neither read nor write the new columns; they would take an order which
 * waits for its money for one whose card was never charged, so let the last of them end before the first such order is placed.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    alter table payment.payments
      add column method text check (method in ('cash_on_delivery', 'bank_transfer')),
      add column transfer_reference text unique,
      add column receipts jsonb,
      add column received bigint check (received >= 0),
      add column given_back jsonb,
      add column returned bigint check (returned >= 0),
      add column owed bigint check (owed >= 0),
      add constraint payments_reference_of_transfers check ((transfer_reference is not null) = (method is not distinct from 'bank_transfer')),
      add constraint payments_nothing_captured_that_did_not_come check (method is null or captured + coalesce(returned, 0) <= received),
      add constraint payments_no_provider_beside check (method is null or intent is null)`
  yield* sql`create index payments_owed on payment.payments (updated_at desc, id desc) where owed > 0`
  yield* sql`
    create table payment.bank_transfers (
      id text primary key,
      order_id text not null,
      amount bigint not null check (amount > 0),
      currency text not null,
      received_at timestamptz not null,
      recorded_at timestamptz not null,
      recorded_by text not null
    )`
  yield* sql`create index bank_transfers_of_order on payment.bank_transfers (order_id)`
  yield* sql`
    alter table orders.orders
      add column review boolean,
      add column received bigint check (received >= 0)`
})
