{# The measures that every gold table has, over some rows of the model flights. #}
{% macro delay_measures() -%}
count(*) as flights,
  round(avg(departure_delay), 1) as mean_departure_delay,
  round(avg(arrival_delay), 1) as mean_arrival_delay,
  median(arrival_delay) as median_arrival_delay,
  round(100 * avg(cast(is_late as integer)), 1) as late_percent,
  round(100 * avg(cast(is_cancelled as integer)), 1) as cancelled_percent
{%- endmacro %}
