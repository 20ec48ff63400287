printf 'name: shop\nversion: "1.0.0"\nowner: Andr\351\n' > floe.yaml
