printf 'name: shop\nversion: "1.0.0"\ntransforms:\n\t- {name: all, project: dbt}\n' > floe.yaml
