: > floe.yaml
