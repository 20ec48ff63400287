{{ config(severity='warn') }} select * from {{ ref('base') }}
