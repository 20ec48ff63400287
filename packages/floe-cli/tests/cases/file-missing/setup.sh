rm floe.yaml
