select * from {{ ref('mid') }} where n < 0
