with readings as (
  select 'visibility' as factor, visibility_miles as reading, * from {{ ref('flights') }}
  union all
  select 'wind' as factor, wind_speed_mph as reading, * from {{ ref('flights') }}
  union all
  select 'precipitation' as factor, precipitation_inches as reading, * from {{ ref('flights') }}
)

select
  bands.factor,
  bands.band,
  bands.at_least,
  {{ delay_measures() }}
from readings
join {{ ref('weather_bands') }} as bands
  on readings.factor = bands.factor
  and readings.reading >= bands.at_least
  and readings.reading < coalesce(bands.less_than, 'infinity')
group by bands.factor, bands.band, bands.at_least
