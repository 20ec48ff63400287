"""dbt projects for floe: parse, run and read their manifest."""
