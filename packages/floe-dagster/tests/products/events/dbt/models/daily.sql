{{ config(
    materialized='incremental', incremental_strategy='microbatch', event_time='happened_at',
    batch_size='day', begin='2024-01-01', tags=['counts']
) }}
select id, happened_at, current_timestamp as built_at from {{ ref('arrivals') }}
