{% materialization incremental, adapter="duckdb_iceberg", supported_languages=['sql', 'python'] -%}

  {%- set language = model['language'] -%}
  {%- set existing_relation = load_cached_relation(this) -%}
  {%- set target_relation = this.incorporate(type='table') -%}
  {%- set is_new = existing_relation is none or existing_relation.is_view or should_full_refresh() -%}
  {%- if not is_new and not adapter.is_iceberg_table(existing_relation) -%}
    {{ exceptions.raise_compiler_error(
      existing_relation ~ " is a table of DuckDB's own, not an Iceberg table: drop it, or replace it with --full-refresh"
    ) }}
  {%- endif -%}
  {%- set strategy = config.get('incremental_strategy') or 'default' -%}
  {%- set strategy = 'delete+insert' if strategy == 'default' else strategy -%}
  {#- Refuses a strategy that does not exist, also when it is not needed yet. -#}
  {%- set make_sql = adapter.get_incremental_strategy_macro(context, strategy) if strategy != 'insert_overwrite' -%}

  {% do adapter.refuse_shared_place(model, graph) %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {% if is_new %}
    {% do duckdb_iceberg__write_model(target_relation, language) %}
    {% do create_indexes(target_relation) %}
  {% else %}
    {% do duckdb_iceberg__write_increment(target_relation, language, strategy, make_sql) %}
  {% endif %}
  {% do persist_docs(target_relation, model) %}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% do apply_grants(target_relation, config.get('grants'), should_revoke=false) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}

{%- endmaterialization %}


{% macro duckdb_iceberg__write_increment(target_relation, language, strategy, make_sql) %}
  {%- set on_schema_change = incremental_validate_on_schema_change(config.get('on_schema_change'), default='ignore') -%}
  {%- set predicates = config.get('predicates', none) or config.get('incremental_predicates', none) -%}
  {%- set unique_key = config.get('unique_key') -%}
  {%- set source_relation = make_temp_relation(target_relation) -%}

  {% if language == 'python' %}
    {% do adapter.load_python_model(source_relation, model, duckdb_iceberg__python_code(compiled_code, source_relation)) %}
  {% else %}
    {% do run_query(create_table_as(True, source_relation, compiled_code)) %}
  {% endif %}

  {%- set dest_columns = duckdb_iceberg__dest_columns(on_schema_change, source_relation, target_relation, strategy) -%}
  {%- set columns = get_quoted_csv(dest_columns | map(attribute='name')) -%}
  {%- set rows = 'select ' ~ columns ~ ' from ' ~ source_relation -%}

  {% if strategy == 'append' or (strategy == 'delete+insert' and not unique_key) %}
    {% do adapter.replace_rows(target_relation, source_relation, none, rows, config, on_schema_change) %}
  {% elif strategy == 'insert_overwrite' %}
    {% do duckdb_iceberg__change_columns(on_schema_change, source_relation, target_relation) %}
    {% do adapter.replace_partitions(target_relation, rows) %}
  {% elif strategy == 'microbatch' %}
    {%- set window = duckdb_iceberg__window() -%}
    {% do adapter.replace_rows(target_relation, source_relation, duckdb_iceberg__and(window, predicates), rows ~ ' where ' ~ window, config, on_schema_change) %}
  {% else %}
    {%- set arguments = {
      'target_relation': duckdb_iceberg__matched_rows(target_relation),
      'temp_relation': source_relation,
      'unique_key': unique_key,
      'dest_columns': dest_columns,
      'incremental_predicates': predicates,
    } -%}
    {%- set keys = unique_key if strategy == 'delete+insert' else (config.get('merge_on_using_columns') or unique_key) -%}
    {% do adapter.merge_rows(target_relation, source_relation, keys, make_sql(arguments), config, on_schema_change, duckdb_iceberg__can_change_all(strategy)) %}
  {% endif %}

  {% do duckdb_iceberg__report(compiled_code) %}
  {% do adapter.drop_relation(source_relation) %}
{% endmacro %}


{#- A strategy of the project's own may change any row, and so may a clause of MERGE for rows that the source has not. -#}
{% macro duckdb_iceberg__can_change_all(strategy) %}
  {%- if strategy not in ['delete+insert', 'merge'] -%}
    {{ return(true) }}
  {%- endif -%}
  {%- for clause in (config.get('merge_clauses') or {}).get('when_not_matched', []) -%}
    {%- if (clause.get('by') or '') | lower == 'source' -%}
      {{ return(true) }}
    {%- endif -%}
  {%- endfor -%}
  {{ return(false) }}
{% endmacro %}


{% macro duckdb_iceberg__dest_columns(on_schema_change, source_relation, target_relation, strategy) %}
  {%- if on_schema_change == 'ignore' -%}
    {%- set there = adapter.get_columns_in_relation(target_relation) -%}
    {%- set given = adapter.get_columns_in_relation(source_relation) -%}
    {%- if strategy in ['append', 'delete+insert', 'insert_overwrite', 'microbatch'] -%}
      {%- do duckdb_iceberg__refuse_columns(there, given, target_relation, "has columns that the model does not give") -%}
    {%- elif strategy == 'merge' and not config.get('merge_clauses') -%}
      {#- MERGE takes columns by name, so it may do without one, but not have one more. -#}
      {%- do duckdb_iceberg__refuse_columns(given, there, target_relation, "does not have columns that the model gives") -%}
    {%- endif -%}
    {{ return(there) }}
  {%- endif -%}
  {%- set changes = check_for_schema_changes(source_relation, target_relation) -%}
  {%- if changes['schema_changed'] and on_schema_change == 'fail' -%}
    {#- Raises with dbt's own words. -#}
    {%- do process_schema_changes('fail', source_relation, target_relation) -%}
  {%- endif -%}
  {{ return(changes['source_columns']) }}
{% endmacro %}


{% macro duckdb_iceberg__refuse_columns(columns, known, relation, what) %}
  {%- set names = known | map(attribute='name') | map('lower') | list -%}
  {%- set left = [] -%}
  {%- for column in columns if column.name | lower not in names -%}
    {%- do left.append(column.name) -%}
  {%- endfor -%}
  {%- if left -%}
    {{ exceptions.raise_compiler_error(
      relation.schema ~ "." ~ relation.identifier ~ " " ~ what ~ ": " ~ (left | join(", "))
      ~ "; set on_schema_change to append_new_columns or sync_all_columns, or run the model with --full-refresh"
    ) }}
  {%- endif -%}
{% endmacro %}


{#- Partitions are overwritten by rows as they are: columns come and go before. -#}
{% macro duckdb_iceberg__change_columns(on_schema_change, source_relation, target_relation) %}
  {%- if on_schema_change in ['append_new_columns', 'sync_all_columns'] -%}
    {%- set changes = check_for_schema_changes(source_relation, target_relation) -%}
    {%- set is_synced = on_schema_change == 'sync_all_columns' -%}
    {%- if is_synced and changes['new_target_types'] -%}
      {{ exceptions.raise_compiler_error(
        "insert_overwrite leaves other partitions as they are, so the type of "
        ~ (changes['new_target_types'] | map(attribute='column_name') | join(', '))
        ~ " cannot change in " ~ target_relation ~ ": run the model with --full-refresh"
      ) }}
    {%- endif -%}
    {%- set removed = changes['target_not_in_source'] if is_synced else [] -%}
    {%- if changes['source_not_in_target'] or removed -%}
      {%- do adapter.change_columns(target_relation, changes['source_not_in_target'], removed) -%}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}


{% macro duckdb_iceberg__window() %}
  {%- set event_time = config.get('event_time') -%}
  {%- if not event_time -%}
    {{ exceptions.raise_compiler_error("microbatch incremental strategy requires an 'event_time' model config") }}
  {%- endif -%}
  {%- if config.get('unique_key') -%}
    {{ exceptions.raise_compiler_error("microbatch incremental strategy does not support 'unique_key', as it replaces whole windows of time: remove it, or use incremental_strategy='merge'") }}
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
