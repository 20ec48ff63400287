with listed as (
  select * from {{ ref('bronze_airports') }}
),

missing as (
  select * from {{ ref('missing_airports') }}
)

select * from listed
union all by name
select * from missing
where airport not in (select airport from listed)
