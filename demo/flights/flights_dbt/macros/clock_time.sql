{# The time of day behind a clock reading such as 517 (05:17) or 2400 (midnight). #}
{% macro clock_time(reading) -%}
make_time(cast({{ reading }} as integer) // 100 % 24, cast({{ reading }} as integer) % 100, 0)
{%- endmacro %}
