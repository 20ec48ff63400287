select
  faa as airport,
  name as airport_name,
  cast(lat as double) as latitude,
  cast(lon as double) as longitude,
  cast(alt as integer) as altitude_feet,
  tzone as timezone
from {{ source('nycflights13', 'airports') }}
