/** What payment providers have told us. A new table only: nodes of the version before do not know it. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    create table payment.provider_events (
      id text primary key,
      version int not null,
      payment_id text,
      provider text not null check (provider in ('stripe', 'paypal')),
      event_id text not null,
      type text not null,
      object text not null,
      intent text,
      occurred_at timestamptz not null,
      fact jsonb not null,
      status text not null check (status in ('received', 'applied', 'ignored', 'unmatched', 'parked')),
      attempts int not null check (attempts >= 0),
      next_attempt_at timestamptz,
      outcome text,
      error text,
      received_at timestamptz not null,
      settled_at timestamptz,
      contradictions int not null check (contradictions >= 0),
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check ((status = 'received') = (next_attempt_at is not null)),
      check ((status = 'received') = (settled_at is null))
    ) with (fillfactor = 70)`
  // One event is one row, whichever payment it is said to be about.
  yield* sql`create unique index provider_events_event on payment.provider_events (provider, event_id)`
  yield* sql`create index provider_events_payment on payment.provider_events (payment_id, received_at)`
  yield* sql`create index provider_events_open on payment.provider_events (status, received_at) where status in ('parked', 'unmatched')`
  yield* sql`create index provider_events_settled on payment.provider_events (settled_at)`
})
