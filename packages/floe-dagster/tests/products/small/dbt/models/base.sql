select id, n from {{ ref('numbers') }}
