{{ config(
    materialized='incremental', incremental_strategy='microbatch', event_time='happened_at',
    batch_size='month', begin='2023-11-01', tags=['counts']
) }}
select id, happened_at, current_timestamp as built_at from {{ ref('arrivals') }}
