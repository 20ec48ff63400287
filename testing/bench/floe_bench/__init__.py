"""What floe costs, as ratios to its peers; `make bench` runs it."""
