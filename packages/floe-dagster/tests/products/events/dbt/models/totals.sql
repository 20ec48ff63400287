{{ config(materialized='table', tags=['counts']) }}
select count(*) as events from {{ ref('daily') }}
union all
select count(*) as events from {{ ref('hourly') }}
