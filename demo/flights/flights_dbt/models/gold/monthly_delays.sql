select
  cast(date_trunc('month', flight_date) as date) as month,
  cast(sum(flights) as bigint) as flights,
  round(sum(total_arrival_delay) / sum(arrived), 1) as mean_arrival_delay,
  round(100 * sum(late) / sum(arrived), 1) as late_percent,
  round(100 * sum(cancelled) / sum(flights), 1) as cancelled_percent,
  arg_max(flight_date, cancelled) as day_with_most_cancellations
from {{ ref('daily_flights') }}
group by month
