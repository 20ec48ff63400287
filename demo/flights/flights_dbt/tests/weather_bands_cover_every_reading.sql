-- A flight with a reading is in one band of the factor, neither none nor two.
with readings as (
  select 'visibility' as factor, count(visibility_miles) as flights from {{ ref('flights') }}
  union all
  select 'wind' as factor, count(wind_speed_mph) as flights from {{ ref('flights') }}
  union all
  select 'precipitation' as factor, count(precipitation_inches) as flights from {{ ref('flights') }}
),

counted as (
  select factor, sum(flights) as flights from {{ ref('weather_effect') }} group by factor
)

select factor
from readings
full join counted using (factor)
where readings.flights is distinct from counted.flights
