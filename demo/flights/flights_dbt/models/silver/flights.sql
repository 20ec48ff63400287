with flights as (
  select
    *,
    flight_date + scheduled_departure_time as scheduled_departure
  from {{ ref('bronze_flights') }}
)

select
  flights.flight_id,
  flights.flight_date,
  flights.scheduled_departure,
  flights.carrier,
  airlines.airline,
  flights.flight_number,
  flights.tailnum,
  flights.origin,
  flights.dest,
  destinations.airport_name as dest_airport,
  flights.distance_miles,
  flights.air_time_minutes,

  flights.departure_delay,
  flights.arrival_delay,
  flights.arrival_delay >= 15 as is_late,
  flights.departure_time is null as is_cancelled,
  flights.departure_time is not null and flights.arrival_delay is null as is_diverted,

  aircraft.manufacturer || ' ' || aircraft.model as aircraft,
  year(flights.flight_date) - aircraft.built_year as aircraft_age_years,

  weather.temperature_f,
  weather.wind_speed_mph,
  weather.precipitation_inches,
  weather.visibility_miles
from flights
left join {{ ref('airlines') }} as airlines on flights.carrier = airlines.carrier
left join {{ ref('airports') }} as destinations on flights.dest = destinations.airport
left join {{ ref('aircraft') }} as aircraft on flights.tailnum = aircraft.tailnum
left join {{ ref('bronze_weather') }} as weather
  on flights.origin = weather.origin
  and flights.scheduled_hour_utc = weather.hour_utc
