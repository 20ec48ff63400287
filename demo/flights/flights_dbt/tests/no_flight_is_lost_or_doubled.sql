-- Every scheduled flight is in each of these tables exactly once.
with expected as (
  select count(*) as flights from {{ ref('bronze_flights') }}
),

counted as (
  select 'airline_delays' as model, sum(flights) as flights from {{ ref('airline_delays') }}
  union all
  select 'route_delays' as model, sum(flights) as flights from {{ ref('route_delays') }}
  union all
  select 'monthly_delays' as model, sum(flights) as flights from {{ ref('monthly_delays') }}
)

select counted.*
from counted, expected
where counted.flights != expected.flights
