head -c 6291456 /dev/zero | tr '\0' '#' > platform.yaml
