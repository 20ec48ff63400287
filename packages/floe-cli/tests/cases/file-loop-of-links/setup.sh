rm platform.yaml
ln -s a platform.yaml
ln -s b a
ln -s a b
