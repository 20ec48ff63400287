"""The schemas of platform.yaml, floe.yaml and the artifacts."""
