{{ config(
    materialized='incremental', incremental_strategy='microbatch', event_time='happened_at',
    batch_size='hour', begin='2024-01-01T05:00:00', tags=['counts']
) }}
select id, happened_at, current_timestamp as built_at from {{ ref('arrivals') }}
