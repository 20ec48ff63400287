{% materialization table, adapter="duckdb_iceberg", supported_languages=['sql', 'python'] %}

  {%- set existing_relation = load_cached_relation(this) -%}
  {%- set target_relation = this.incorporate(type='table') -%}

  {% do adapter.refuse_shared_place(model, graph) %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {% do duckdb_iceberg__write_model(target_relation, model['language']) %}

  {% do create_indexes(target_relation) %}
  {#- They are in the table by now: this warns of columns that it has not. -#}
  {% do persist_docs(target_relation, model) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}

  {% do apply_grants(target_relation, config.get('grants'), should_revoke=false) %}

  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{#- Makes a table hold what the model gives, in one commit; `main` gets what it did. -#}
{% macro duckdb_iceberg__write_model(target_relation, language) %}
  {%- if language == 'python' -%}
    {% do adapter.write_python_model(target_relation, model, duckdb_iceberg__python_code(compiled_code, target_relation), config) %}
  {%- else -%}
    {% do create_table_as(False, target_relation, compiled_code) %}
  {%- endif -%}
  {% do duckdb_iceberg__report(compiled_code) %}
{% endmacro %}


{#- The result of the model: the statement is not run again, and what it did is what was just written. -#}
{% macro duckdb_iceberg__report(sql) %}
  {% do write(sql) %}
  {% do store_result('main', response=adapter.response()) %}
{% endmacro %}


{#- dbt-duckdb calls `materialize` with what the model's function returns. -#}
{% macro duckdb_iceberg__python_code(compiled_code, relation) -%}
{{ compiled_code }}

def materialize(df, con):
    from dbt.adapters.duckdb_iceberg.environment import collect

    collect(df, con, '__dbt_python_model_df_{{ relation.identifier }}')
{% endmacro %}
