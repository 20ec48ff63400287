mkdir .git
rm platform.yaml
