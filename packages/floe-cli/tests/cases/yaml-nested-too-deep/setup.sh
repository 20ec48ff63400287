python3 -c 'print("a: " + "[" * 100 + "]" * 100)' > platform.yaml
