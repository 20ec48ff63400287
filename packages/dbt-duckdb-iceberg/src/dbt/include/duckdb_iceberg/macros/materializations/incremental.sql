{% materialization incremental, adapter="duckdb_iceberg", supported_languages=['sql', 'python'] -%}

  {%- set language = model['language'] -%}
  {%- set existing_relation = load_cached_relation(this) -%}
  {%- set target_relation = this.incorporate(type='table') -%}
  {%- set is_new = existing_relation is none or existing_relation.is_view or should_full_refresh() or not adapter.is_iceberg_table(existing_relation) -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {% if is_new %}
    {% do duckdb_iceberg__write_model(target_relation, language) %}
    {% do create_indexes(target_relation) %}
  {% else %}
    {% do duckdb_iceberg__write_increment(target_relation, language) %}
    {% do duckdb_iceberg__report(target_relation, compiled_code) %}
    {% do persist_docs(target_relation, model) %}
  {% endif %}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% do apply_grants(target_relation, config.get('grants'), should_revoke=false) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}

{%- endmaterialization %}


{% macro duckdb_iceberg__write_increment(target_relation, language) %}
  {%- set strategy = config.get('incremental_strategy') or 'default' -%}
  {%- set strategy = 'delete+insert' if strategy == 'default' else strategy -%}
  {%- set on_schema_change = incremental_validate_on_schema_change(config.get('on_schema_change'), default='ignore') -%}
  {%- set predicates = config.get('predicates', none) or config.get('incremental_predicates', none) -%}
  {%- set unique_key = config.get('unique_key') -%}
  {%- set source_relation = make_temp_relation(target_relation) -%}

  {% if language == 'python' %}
    {% do adapter.load_python_model(source_relation, model, duckdb_iceberg__python_code(compiled_code, source_relation)) %}
  {% else %}
    {% do run_query(create_table_as(True, source_relation, compiled_code)) %}
  {% endif %}

  {%- set dest_columns = duckdb_iceberg__dest_columns(on_schema_change, source_relation, target_relation) -%}
  {%- set columns = get_quoted_csv(dest_columns | map(attribute='name')) -%}
  {%- set rows = 'select ' ~ columns ~ ' from ' ~ source_relation -%}

  {% if strategy == 'append' or (strategy in ['delete+insert', 'merge'] and not unique_key) %}
    {% do adapter.replace_rows(target_relation, source_relation, none, rows, on_schema_change) %}
  {% elif strategy == 'insert_overwrite' %}
    {% do adapter.replace_partitions(target_relation, rows) %}
  {% elif strategy == 'microbatch' %}
    {%- set window = duckdb_iceberg__window() -%}
    {% do adapter.replace_rows(target_relation, source_relation, duckdb_iceberg__and(window, predicates), rows ~ ' where ' ~ window, on_schema_change) %}
  {% else %}
    {%- set arguments = {
      'target_relation': duckdb_iceberg__matched_rows(target_relation),
      'temp_relation': source_relation,
      'unique_key': unique_key,
      'dest_columns': dest_columns,
      'incremental_predicates': predicates,
    } -%}
    {%- set make_sql = adapter.get_incremental_strategy_macro(context, strategy) -%}
    {% do adapter.merge_rows(target_relation, source_relation, unique_key, make_sql(arguments), on_schema_change) %}
  {% endif %}

  {% do adapter.drop_relation(source_relation) %}
{% endmacro %}


{% macro duckdb_iceberg__dest_columns(on_schema_change, source_relation, target_relation) %}
  {%- if on_schema_change == 'ignore' -%}
    {{ return(adapter.get_columns_in_relation(target_relation)) }}
  {%- endif -%}
  {%- set changes = check_for_schema_changes(source_relation, target_relation) -%}
  {%- if changes['schema_changed'] and on_schema_change == 'fail' -%}
    {#- Raises with dbt's own words. -#}
    {%- do process_schema_changes('fail', source_relation, target_relation) -%}
  {%- endif -%}
  {{ return(changes['source_columns']) }}
{% endmacro %}


{% macro duckdb_iceberg__window() %}
  {%- set event_time = config.get('event_time') -%}
  {%- if not event_time -%}
    {{ exceptions.raise_compiler_error("microbatch incremental strategy requires an 'event_time' model config") }}
  {%- endif -%}
  {%- if config.get('unique_key') -%}
    {{ exceptions.raise_compiler_error("microbatch replaces whole windows of time and takes no 'unique_key': remove it, or use incremental_strategy='merge'") }}
  {%- endif -%}
  {%- set batch = model.get('batch') -%}
  {%- if not batch or not batch.get('event_time_start') or not batch.get('event_time_end') -%}
    {{ exceptions.raise_compiler_error("microbatch incremental strategy requires 'batch.event_time_start' and 'batch.event_time_end' to be set in the context") }}
  {%- endif -%}
  {{ return(event_time ~ " >= '" ~ batch['event_time_start'] ~ "' and " ~ event_time ~ " < '" ~ batch['event_time_end'] ~ "'") }}
{% endmacro %}


{% macro duckdb_iceberg__and(condition, predicates) %}
  {%- set all = [condition] + (normalize_incremental_predicates(predicates) or []) -%}
  {{ return('(' ~ all | join(') and (') ~ ')') }}
{% endmacro %}
