{{ config(materialized='view') }}

select
  carrier,
  airline
from {{ ref('airlines_history') }}
where dbt_valid_to is null
