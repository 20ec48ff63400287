{{ config(materialized='table', event_time='happened_at') }}
select id, happened_at from {{ ref('raw_events') }}
