{#- Everything that dbt creates as a table goes through here: models, snapshots, stored test failures. -#}
{% macro duckdb_iceberg__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
  {%- if temporary -%}
    {{ return(duckdb__create_table_as(True, relation, compiled_code, language)) }}
  {%- endif -%}
  {%- if config.get('contract').enforced -%}
    {{ get_assert_columns_equivalent(compiled_code) }}
    {#- Not for the SQL: dbt warns of constraints that are not enforced. -#}
    {%- do adapter.render_raw_columns_constraints(raw_columns=model['columns']) -%}
    {%- do adapter.render_raw_model_constraints(raw_constraints=model['constraints']) -%}
    {%- set compiled_code = get_select_subquery(compiled_code) -%}
  {%- endif -%}
  {%- set sql_header = config.get('sql_header', none) -%}
  {%- if sql_header is not none -%}
    {%- do run_query(sql_header) -%}
  {%- endif -%}
  {{ return(adapter.write_table(relation, compiled_code, config)) }}
{%- endmacro %}

{% macro duckdb_iceberg__create_schema(relation) -%}
  {%- call statement('create_schema') -%}
    create schema if not exists {{ relation.without_identifier() }}
  {%- endcall -%}
{%- endmacro %}

{% macro duckdb_iceberg__alter_relation_add_remove_columns(relation, add_columns, remove_columns) -%}
  {%- do adapter.change_columns(relation, add_columns or [], remove_columns or []) -%}
{%- endmacro %}

{% macro duckdb_iceberg__create_columns(relation, columns) -%}
  {%- if columns -%}
    {%- do adapter.change_columns(relation, columns, []) -%}
  {%- endif -%}
{%- endmacro %}

{% macro duckdb_iceberg__alter_column_type(relation, column_name, new_column_type) -%}
  {{ exceptions.raise_compiler_error(
    "The type of column " ~ column_name ~ " of " ~ relation ~ " cannot be changed in place: run the model with --full-refresh"
  ) }}
{%- endmacro %}

{% macro duckdb_iceberg__alter_relation_comment(relation, comment) -%}
  {%- if adapter.is_iceberg_table(relation) -%}
    {%- do adapter.document(relation, comment, {}) -%}
    {{ return('') }}
  {%- endif -%}
  {%- do adapter.document_view(relation, comment, {}) -%}
{%- endmacro %}

{% macro duckdb_iceberg__alter_column_comment(relation, column_dict) -%}
  {%- if adapter.is_iceberg_table(relation) -%}
    {%- do adapter.document(relation, none, column_dict) -%}
    {{ return('') }}
  {%- endif -%}
  {%- do adapter.document_view(relation, none, column_dict) -%}
{%- endmacro %}

{% macro duckdb_iceberg__get_create_index_sql(relation, index_dict) -%}
  {%- do adapter.note_ignored("Iceberg tables have no indexes; `indexes` is ignored. Use partition_by or sort_by.") -%}
  {{ return(none) }}
{%- endmacro %}

{% macro duckdb_iceberg__apply_grants(relation, grant_config, should_revoke=True) -%}
  {%- if grant_config -%}
    {%- do adapter.note_ignored("`grants` is ignored: who may read an Iceberg table is decided in its catalog.") -%}
  {%- endif -%}
{%- endmacro %}

{#- dbt's temporary tables are DuckDB's. -#}
{% macro duckdb_iceberg__post_snapshot(staging_relation) -%}
  {%- do adapter.drop_relation(staging_relation) -%}
{%- endmacro %}
