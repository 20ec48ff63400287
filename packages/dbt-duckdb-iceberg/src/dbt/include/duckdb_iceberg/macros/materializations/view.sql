{% materialization view, adapter="duckdb_iceberg" %}

  {%- set existing_relation = load_cached_relation(this) -%}
  {%- set target_relation = this.incorporate(type='view') -%}

  {% do adapter.refuse_shared_place(model, graph) %}
  {% do adapter.refuse_view_of_itself(target_relation, sql) %}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {%- if config.get('sql_header') -%}
    {%- do run_query(config.get('sql_header')) -%}
  {%- endif -%}
  {% if config.get('contract').enforced %}
    {{ get_assert_columns_equivalent(sql) }}
  {% endif %}

  {%- if existing_relation is not none and not existing_relation.is_view and not adapter.is_iceberg_table(existing_relation) -%}
    {#- A table of DuckDB's own: the SQL is bound before it goes. -#}
    {% do adapter.get_column_schema_from_query(sql ~ '\n') %}
    {% do adapter.drop_relation(existing_relation) %}
  {%- endif -%}

  {% call statement('main') -%}
    create or replace view {{ target_relation }} as (
      {{ sql }}
    );
  {%- endcall %}
  {#- An Iceberg table that had the name goes when the view is there. -#}
  {% do adapter.keep_view(target_relation, sql) %}

  {% do persist_docs(target_relation, model) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% do apply_grants(target_relation, config.get('grants'), should_revoke=false) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}
