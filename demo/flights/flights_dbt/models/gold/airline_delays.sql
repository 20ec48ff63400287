select
  carrier,
  airline,
  {{ delay_measures() }}
from {{ ref('flights') }}
group by carrier, airline
