{{ config(
  materialized='incremental',
  incremental_strategy='delete+insert',
  unique_key='flight_date',
) }}

with recent as (
  select * from {{ ref('flights') }}
  {% if is_incremental() %}
  -- New days, and the last three again: reports on them may have come in late.
  where flight_date > (select coalesce(max(flight_date), date '1900-01-01') from {{ this }}) - 3
  {% endif %}
)

select
  flight_date,
  count(*) as flights,
  count(*) filter (where is_cancelled) as cancelled,
  count(*) filter (where is_diverted) as diverted,
  count(arrival_delay) as arrived,
  count(*) filter (where is_late) as late,
  cast(coalesce(sum(arrival_delay), 0) as bigint) as total_arrival_delay
from recent
group by flight_date
