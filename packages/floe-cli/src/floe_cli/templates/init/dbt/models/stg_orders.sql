select
    order_id,
    customer,
    ordered_at,
    cast(ordered_at as date) as ordered_on,
    amount_cents / 100.0 as amount,
    status
from {{ ref('raw_orders') }}
