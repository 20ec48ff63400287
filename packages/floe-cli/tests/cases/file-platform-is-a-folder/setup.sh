rm platform.yaml
mkdir platform.yaml
