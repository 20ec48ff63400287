printf 'name: shop\nversion: "1.0.0"\nowner: da\000ta\ntransforms:\n  - {name: all, project: dbt}\n' > floe.yaml
