-- The distance of a flight is the great circle between its airports, give or take 2 % and 5 miles.
with routes as (
  select origin, dest, distance_miles from {{ ref('route_delays') }}
),

measured as (
  select
    routes.*,
    3959 * acos(
      sin(radians(a.latitude)) * sin(radians(b.latitude))
      + cos(radians(a.latitude)) * cos(radians(b.latitude)) * cos(radians(b.longitude - a.longitude))
    ) as great_circle_miles
  from routes
  join {{ ref('airports') }} as a on routes.origin = a.airport
  join {{ ref('airports') }} as b on routes.dest = b.airport
)

select *
from measured
where abs(distance_miles - great_circle_miles) > 5 + 0.02 * great_circle_miles
