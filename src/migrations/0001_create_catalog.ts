/** What is sold and at which price, and whose database this is. The first migration: no process runs before it. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient

  yield* sql`create schema if not exists ops`
  // Decided once, when the database is first used: a shop's database never turns into the demo's, nor the other way round.
  yield* sql`
    create table ops.environment (
      singleton boolean primary key default true check (singleton),
      kind text not null check (kind in ('demo', 'production')),
      decided_at timestamptz not null,
      seeded_at timestamptz,
      check (seeded_at is null or kind = 'demo')
    )`
  // One row for each record an import has applied, so that the same import again changes nothing. REQ-INV-07.
  yield* sql`
    create table ops.import_records (
      import_id text not null,
      record text not null,
      fingerprint text not null,
      applied_at timestamptz not null,
      primary key (import_id, record)
    )`
  yield* sql`create index import_records_applied_at on ops.import_records using brin (applied_at)`
  yield* sql`
    create function ops.refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception '%.% is append-only', tg_table_schema, tg_table_name using errcode = 'restrict_violation';
    end $$`

  yield* sql`create schema catalog`
  yield* sql`
    create table catalog.products (
      sku text primary key check (sku ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
      name text not null check (length(name) between 1 and 200),
      category text not null check (length(category) between 1 and 80),
      active boolean not null,
      taxable boolean not null,
      version int not null check (version > 0),
      created_at timestamptz not null,
      updated_at timestamptz not null,
      words tsvector not null generated always as (
        to_tsvector('simple', regexp_replace(name || ' ' || category || ' ' || sku, '[^[:alnum:]]+', ' ', 'g'))
      ) stored
    )`
  // The order of a storefront's pages.
  yield* sql`create index products_name on catalog.products (name, sku) where active`
  yield* sql`create index products_category on catalog.products (category, name, sku) where active`
  yield* sql`create index products_words on catalog.products using gin (words)`
  // The same bound as in Money: N-070.
  yield* sql`
    create table catalog.prices (
      sku text not null references catalog.products,
      currency text not null check (currency ~ '^[A-Z]{3}$'),
      amount bigint not null check (amount between 0 and 1000000000000000),
      version int not null check (version > 0),
      valid_from timestamptz not null,
      primary key (sku, currency)
    )`
  yield* sql`create index prices_currency on catalog.prices (currency)`
  // A price is valid until the next version's valid_from. REQ-PRC-04.
  yield* sql`
    create table catalog.price_history (
      sku text not null,
      currency text not null,
      version int not null,
      amount bigint not null,
      valid_from timestamptz not null,
      actor text not null,
      reference text not null,
      primary key (sku, currency, version)
    )`
  yield* sql`
    create trigger append_only before update or delete on catalog.price_history
    for each statement execute function ops.refuse_change()`
})
