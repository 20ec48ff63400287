{{ config(meta={'dagster': {'ref': {'name': 'revenue', 'version': 2}}}) }}
select revenue from {{ ref('revenue', v=2) }} where revenue <> (select sum(amount) from {{ ref('orders') }})
