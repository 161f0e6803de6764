/** What lies where, and every change of it. New tables only: nodes of the version before do not know them. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient

  yield* sql`create schema warehouse`
  // Stock is taken from the lowest priority first; unique, so that two nodes choose alike.
  yield* sql`
    create table warehouse.warehouses (
      id text primary key check (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$'),
      name text not null check (length(name) between 1 and 120),
      priority int not null unique check (priority >= 0),
      active boolean not null
    )`
  // REQ-INV-01 stands in the checks. No index holds a counter, and pages are half empty: so an update touches no index.
  yield* sql`
    create table warehouse.stock (
      sku text not null,
      warehouse_id text not null references warehouse.warehouses,
      on_hand int not null default 0 check (on_hand >= 0),
      reserved int not null default 0 check (reserved >= 0),
      committed int not null default 0 check (committed >= 0),
      damaged int not null default 0 check (damaged >= 0),
      version int not null default 1 check (version > 0),
      primary key (sku, warehouse_id),
      constraint stock_bound check (reserved::bigint + committed + damaged <= on_hand)
    ) with (fillfactor = 50)`
  // Counters are the fold of this: each row tells by how much they moved. REQ-INV-02.
  yield* sql`
    create table warehouse.stock_ledger (
      at timestamptz not null,
      on_hand int not null default 0,
      reserved int not null default 0,
      committed int not null default 0,
      damaged int not null default 0,
      op text not null,
      reference text not null,
      sku text not null,
      warehouse_id text not null,
      actor text not null,
      primary key (op, reference)
    )`
  yield* sql`create index stock_ledger_at on warehouse.stock_ledger using brin (at)`
  yield* sql`
    create trigger append_only before update or delete on warehouse.stock_ledger
    for each statement execute function ops.refuse_change()`
})
