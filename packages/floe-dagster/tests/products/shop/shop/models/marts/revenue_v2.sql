select sum(amount) as revenue, count(*) as orders from {{ ref('orders') }}
