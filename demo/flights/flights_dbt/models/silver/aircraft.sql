select
  tailnum,
  built_year,
  manufacturer,
  model,
  seats
from {{ ref('bronze_planes') }}
where
  plane_type = 'Fixed wing multi engine'
  and engine in ('Turbo-fan', 'Turbo-jet', 'Turbo-prop')
  and coalesce(seats, 100) >= 30
