"""Where layers place tables."""

from __future__ import annotations

import pytest

from floe_core.lake import OWN, lake_of
from floe_core.schemas.artifacts import OtherProfiles, Profiles
from floe_core.schemas.platform import Layer


@pytest.mark.parametrize("layer", ["gold", "default", "Temp", "memory", "engine"])
def test_a_layer_of_any_name_leaves_the_catalog_of_the_product(layer: str) -> None:
    own = {"type": "sql", "uri": "sqlite:////srv/own.db"}
    far = {"type": "sql", "uri": "sqlite:////srv/far.db"}
    profiles = Profiles.model_validate(
        {
            "catalog": {"name": "own", "profile": own},
            "compute": {"name": "default", "profile": {"type": "duckdb"}},
        }
    )
    others = OtherProfiles.model_validate(
        {"catalogs": {"far": far}, "storage": {"s": {"type": "local", "path": "far"}}}
    )
    lake = lake_of(profiles, others, {layer: Layer(catalog="far", storage="s")}, "dev")
    assert lake is not None
    assert lake.catalogs[OWN].name == "own"
    key = lake.keys[layer]
    assert lake.catalogs[key].name == "far"
    assert key.lower() not in {OWN, "temp", "memory", "engine"}
