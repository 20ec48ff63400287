{% macro newer_rows(column) -%}
  {% if is_incremental() -%}
    {{ column }} > (select coalesce(max({{ column }}), timestamp '1970-01-01') from {{ this }})
  {%- else -%}
    {{ column }} >= cast('{{ var("first_day") }}' as timestamp)
  {%- endif %}
{%- endmacro %}

{% test not_negative(model, column_name) %}
select {{ column_name }} from {{ model }} where {{ column_name }} < 0
{% endtest %}
