rm platform.yaml
ln -s mounted/platform.yaml platform.yaml
