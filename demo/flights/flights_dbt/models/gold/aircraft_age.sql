with banded as (
  select
    *,
    least(aircraft_age_years // 5 * 5, 25) as from_years
  from {{ ref('flights') }}
  where aircraft_age_years is not null
)

select
  from_years,
  case
    when from_years = 25 then '25 years or more'
    else concat(from_years, ' to ', from_years + 4, ' years')
  end as age,
  count(distinct tailnum) as aircraft,
  mode(airline) as main_airline,
  {{ delay_measures() }}
from banded
group by from_years
