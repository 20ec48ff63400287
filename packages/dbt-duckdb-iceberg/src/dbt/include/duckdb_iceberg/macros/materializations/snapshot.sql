{#- dbt's own snapshot materialization, with its two writes made to Iceberg. -#}
{% macro duckdb_iceberg__snapshot_merge_sql(target, source, insert_cols) -%}
  {%- set columns = config.get("snapshot_table_column_names") or get_snapshot_table_column_names() -%}
  {%- set statement_sql = duckdb__snapshot_merge_sql(duckdb_iceberg__matched_rows(target), source, insert_cols) -%}
  {{ return(adapter.merge_rows(target, source, [columns.dbt_scd_id], statement_sql, config)) }}
{%- endmacro %}


{#- Stands for the rows of a table that match, where a statement changes them. -#}
{% macro duckdb_iceberg__matched_rows(relation) -%}
  {{ return(relation.incorporate(path={"database": none, "schema": none, "identifier": "__dbt_target__"})) }}
{%- endmacro %}
