select
  concat(origin, '-', dest) as route,
  origin,
  dest,
  dest_airport,
  min(distance_miles) as distance_miles,
  count(distinct carrier) as airlines,
  {{ delay_measures() }}
from {{ ref('flights') }}
group by origin, dest, dest_airport
