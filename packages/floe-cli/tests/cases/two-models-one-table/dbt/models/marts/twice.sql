{{ config(alias='stg_orders') }} select 2 as order_id, 3 as amount
