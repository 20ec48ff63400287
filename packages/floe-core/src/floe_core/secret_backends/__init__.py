"""floe's own places for secrets that are asked over a network; each needs an extra of floe-core."""
