select 1 from {{ ref('customer_totals') }} having sum(total) <> (select sum(amount) from {{ ref('stg_orders') }})
