{% materialization seed, adapter="duckdb_iceberg" %}

  {%- set existing_relation = load_cached_relation(this) -%}
  {%- if existing_relation is not none and existing_relation.is_view -%}
    {{ exceptions.raise_compiler_error("Cannot seed to '{}', it is a view".format(existing_relation.render())) }}
  {%- endif -%}
  {%- set target_relation = this.incorporate(type='table') -%}
  {%- set agate_table = load_agate_table() -%}
  {%- do store_result('agate_table', response='OK', agate_table=agate_table) -%}

  {% do adapter.refuse_shared_place(model, graph) %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {#- dbt-duckdb loads into a table of its own in DuckDB, which then becomes the Iceberg table. -#}
  {%- set loaded_relation = make_temp_relation(target_relation) -%}
  {% do duckdb_iceberg__load_seed(loaded_relation, agate_table) %}
  {% do create_table_as(False, target_relation, 'select * from ' ~ loaded_relation) %}
  {% do duckdb_iceberg__report('') %}
  {% do adapter.drop_relation(loaded_relation) %}

  {% do create_indexes(target_relation) %}
  {% do persist_docs(target_relation, model) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% do apply_grants(target_relation, config.get('grants'), should_revoke=false) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{% macro duckdb_iceberg__load_seed(relation, agate_table) %}
  {%- set column_override = model['config'].get('column_types', {}) -%}
  {%- set quote_seed_column = model['config'].get('quote_columns', none) -%}
  {% call statement('create_seed') -%}
    create temporary table {{ relation }} (
      {%- for name in agate_table.column_names -%}
        {{ adapter.quote_seed_column(name | string, quote_seed_column) }}
        {{ column_override.get(name, adapter.convert_type(agate_table, loop.index0)) }}
        {%- if not loop.last %}, {% endif -%}
      {%- endfor -%}
    )
  {%- endcall %}
  {%- if agate_table.rows | length > 0 -%}
    {%- if config.get('fast', true) -%}
      {%- set path = adapter.get_seed_file_path(model) -%}
      {%- set delimiter = config.get('delimiter', ',') -%}
      {% call statement('load_seed') -%}
        copy {{ relation }} from '{{ adapter.escape_sql_string(path) }}' (format csv, header true, delimiter '{{ delimiter }}')
      {%- endcall %}
    {%- else -%}
      {%- set agate_table = adapter.convert_datetimes_to_strs(agate_table) -%}
      {%- set columns = get_seed_column_quoted_csv(model, agate_table.column_names) -%}
      {%- for chunk in agate_table.rows | batch(get_batch_size()) -%}
        {%- set bindings = [] -%}
        {%- for row in chunk -%}{%- do bindings.extend(row) -%}{%- endfor -%}
        {%- set sql -%}
          insert into {{ relation }} ({{ columns }}) values
          {% for row in chunk -%}
            ({%- for column in agate_table.column_names -%}?{%- if not loop.last %}, {% endif -%}{%- endfor -%}){%- if not loop.last %}, {% endif -%}
          {%- endfor -%}
        {%- endset -%}
        {% do adapter.add_query(sql, bindings=bindings, abridge_sql_log=True) %}
      {%- endfor -%}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}
