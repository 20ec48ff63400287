select id as order_id, customer_id, coalesce(amount, 0) as amount, status from {{ ref('raw_orders') }}
