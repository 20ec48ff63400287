{{ config(alias='more_orders') }}
select 1 as id
