rm floe.yaml
mkdir floe.yaml
