/** The floor's SQL: each commit is one statement, and fails as a whole when a row it counts on has moved. */

/** `$4`: the line as a JSON array of one. */
export const addItem = `
  insert into checkout.carts (id, version, owner, currency, status, lines, revision, changed_at, merged_from, created_at, updated_at)
  values ($1, 1, $2, $3, 'active', $4::text::jsonb, 1, now(), '[]', now(), now())
  on conflict (id) do update set lines = checkout.carts.lines || excluded.lines, version = checkout.carts.version + 1`

export const startCheckout = `
  insert into checkout.sessions (id, version, status, owner, cart_id, currency, shipping_method, attempt, attempts, changed_at, created_at, updated_at)
  values ($1, 1, 'open', $2, $3, $4, 'standard', 0, '[]', now(), now(), now())
  returning cart_id, currency, payment_method`

export const setAddress = `
  update checkout.sessions set shipping_address = $2::text::jsonb, version = version + 1, updated_at = now() where id = $1
  returning cart_id, currency, payment_method`

export const setPaymentMethod = `
  update checkout.sessions set payment_method = $2, version = version + 1, updated_at = now() where id = $1
  returning cart_id, currency, payment_method`

/** The checkout `$1` with its cart, and with price and stock of each line. */
export const read = `
  select s.owner, s.cart_id as "cartId", s.currency, s.attempt, s.shipping_method as "shippingMethod",
    s.shipping_address as "shippingAddress", s.payment_method as "paymentMethod",
    (select jsonb_agg(jsonb_build_object(
        'sku', p.sku, 'quantity', l.quantity, 'name', p.name, 'category', p.category, 'active', p.active, 'taxable', p.taxable,
        'version', p.version, 'amount', r.amount::text, 'sellable', coalesce(k.sellable, 0)) order by l.position)
      from rows from (jsonb_to_recordset(c.lines) as (sku text, quantity int)) with ordinality as l (sku, quantity, position)
      join catalog.products p on p.sku = l.sku
      left join catalog.prices r on r.sku = p.sku and r.currency = s.currency
      left join lateral (
        select sum(t.on_hand - t.reserved - t.committed - t.damaged) as sellable
        from warehouse.stock t join warehouse.warehouses w on w.id = t.warehouse_id and w.active where t.sku = p.sku
      ) k on true) as products
  from checkout.sessions s join checkout.carts c on c.id = s.cart_id
  where s.id = $1 and s.status in ('open', 'rejected') and c.status = 'active'`

/** `$1` checkout, `$2` cart, `$3` attempt, `$4` terms, `$5` customer, `$6` amount, `$7` currency, `$8` now. */
export const reserve = `
  with wanted as materialized (
    select w.sku, w.quantity from jsonb_to_recordset($4::text::jsonb -> 'lines') as w (sku text, quantity int)
  ), locked as materialized (
    select t.sku, t.warehouse_id, t.on_hand - t.reserved - t.committed - t.damaged as sellable, w.priority
    from warehouse.stock t join warehouse.warehouses w on w.id = t.warehouse_id and w.active
    where t.sku in (select sku from wanted) order by t.sku, t.warehouse_id for update of t
  ), chosen as materialized (
    select distinct on (w.sku) w.sku, w.quantity, l.warehouse_id
    from wanted w join locked l on l.sku = w.sku and l.sellable >= w.quantity order by w.sku, l.priority
  ), enough as materialized (
    select (select count(*) from chosen) = (select count(*) from wanted) as yes
  ), claimed as (
    update warehouse.stock t set reserved = t.reserved + c.quantity, version = t.version + 1
    from chosen c where t.sku = c.sku and t.warehouse_id = c.warehouse_id and (select yes from enough) returning 1
  ), reservation as (
    insert into warehouse.reservations (id, version, attempt, status, lines, expires_at, created_at, updated_at)
    select $1, 1, $3::int, 'active',
      (select jsonb_agg(jsonb_build_object('id', $1::text || ':' || c.sku, 'sku', c.sku, 'warehouseId', c.warehouse_id, 'quantity', c.quantity)) from chosen c),
      $8::timestamptz + interval '30 minutes', $8::timestamptz, $8::timestamptz
    from enough where yes returning 1
  ), payment as (
    insert into payment.payments (id, version, attempt, customer_id, amount, currency, status, saga_state, capture_key,
      capture_retry_count, capture_refused, captured, refunded, resolutions, created_at, updated_at)
    select $1, 1, $3::int, $5, $6::bigint, $7, 'pending', 'none', 0, 0, false, 0, 0, 0, $8::timestamptz, $8::timestamptz
    from enough where yes returning 1
  ), session as (
    update checkout.sessions set status = 'confirming', attempt = $3::int, terms = $4::text::jsonb, confirming_since = $8::timestamptz,
      version = version + 1, changed_at = $8::timestamptz, updated_at = $8::timestamptz
    where id = $1 and status in ('open', 'rejected') and attempt = $3::int - 1 and (select yes from enough) returning 1
  ), cart as (
    update checkout.carts set status = 'locked', checkout_id = $1, attempt = $3::int, locked_at = $8::timestamptz,
      version = version + 1, updated_at = $8::timestamptz
    where id = $2 and status = 'active' and (select yes from enough) returning 1
  )
  select yes as enough, 1 / (case when not yes or (select count(*) from session) + (select count(*) from cart) = 2 then 1 else 0 end)
  from enough`

/** `$1` checkout, `$2` intent, `$3` number, `$4` customer, `$5` currency, `$6` amount, `$7` terms, `$8` now. */
export const place = `
  with payment as (
    update payment.payments set status = 'authorized', saga_state = 'capture_pending', intent = $2, authorized_at = $8::timestamptz,
      version = version + 1, updated_at = $8::timestamptz
    where id = $1 and saga_state = 'none' returning 1
  ), reservation as (
    update warehouse.reservations set expires_at = $8::timestamptz + interval '30 minutes', version = version + 1, updated_at = $8::timestamptz
    where id = $1 and status = 'active' returning 1
  ), placed as (
    insert into orders.orders (id, version, number, checkout_id, customer_id, currency, total_amount, terms, status, payment_status,
      settlement_open, placed_at, expires_at, created_at, updated_at)
    values ($1, 1, $3, $1, $4, $5, $6::bigint, $7::text::jsonb, 'pending', 'authorized', false, $8::timestamptz,
      $8::timestamptz + interval '30 minutes', $8::timestamptz, $8::timestamptz) returning 1
  ), lines as (
    insert into orders.order_lines (order_id, line, sku, name, quantity, unit_price, total)
    select $1, l.line, l.sku, l.name, l.quantity, l."unitPrice", l.total
    from rows from (jsonb_to_recordset($7::text::jsonb -> 'lines') as (sku text, name text, quantity int, "unitPrice" bigint, total bigint))
      with ordinality as l (sku, name, quantity, "unitPrice", total, line)
    returning 1
  )
  select 1 / (case when (select count(*) from payment) + (select count(*) from reservation) = 2 then 1 else 0 end)`

/** `$1` checkout, `$2` cart, `$3` number, `$4` amount, `$5` now. */
export const finish = `
  with claim as materialized (
    select l.sku, l."warehouseId" as warehouse_id, l.quantity
    from warehouse.reservations r cross join lateral jsonb_to_recordset(r.lines) as l (sku text, "warehouseId" text, quantity int)
    where r.id = $1 and r.status = 'active'
  ), locked as materialized (
    select t.sku, t.warehouse_id from warehouse.stock t
    where (t.sku, t.warehouse_id) in (select sku, warehouse_id from claim) order by t.sku, t.warehouse_id for update
  ), bound as (
    update warehouse.stock t set reserved = t.reserved - c.quantity, committed = t.committed + c.quantity, version = t.version + 1
    from claim c join locked l on l.sku = c.sku and l.warehouse_id = c.warehouse_id
    where t.sku = c.sku and t.warehouse_id = c.warehouse_id returning 1
  ), reservation as (
    update warehouse.reservations set status = 'fulfilled', expires_at = null, version = version + 1, updated_at = $5::timestamptz
    where id = $1 and status = 'active' returning 1
  ), payment as (
    update payment.payments set status = 'captured', saga_state = 'captured', captured = $4::bigint, captured_at = $5::timestamptz,
      version = version + 1, updated_at = $5::timestamptz
    where id = $1 and saga_state = 'capture_pending' returning 1
  ), confirmed as (
    update orders.orders set status = 'confirmed', payment_status = 'completed', confirmed_at = $5::timestamptz,
      version = version + 1, updated_at = $5::timestamptz
    where id = $1 and status = 'pending' returning 1
  ), session as (
    update checkout.sessions set status = 'confirmed', confirming_since = null, version = version + 1, changed_at = $5::timestamptz,
      updated_at = $5::timestamptz,
      attempts = attempts || jsonb_build_object('attempt', attempt, 'outcome', jsonb_build_object('_tag', 'Confirmed', 'orderId', $1::text, 'number', $3::text))
    where id = $1 and status = 'confirming' returning 1
  ), cart as (
    update checkout.carts set status = 'completed', order_id = $1, attempt = null, locked_at = null, version = version + 1,
      updated_at = $5::timestamptz
    where id = $2 and status = 'locked' returning 1
  )
  select 1 / (case when (select count(*) from bound) = (select count(*) from claim) and (select count(*) from reservation)
    + (select count(*) from payment) + (select count(*) from confirmed) + (select count(*) from session) + (select count(*) from cart) = 5
    then 1 else 0 end)`
