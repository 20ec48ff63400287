select c.customer_id, c.name, t.total
from {{ ref('stg_customers') }} c left join {{ ref('order_totals_eph') }} t using (customer_id)
