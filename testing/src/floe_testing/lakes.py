"""A product with every kind of table, and entries of platform.yaml for lakes on test servers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from floe_core.schemas.secret import SecretRef
from floe_testing.cli import FloeResult, run_floe
from floe_testing.seaweedfs import Server

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

OAUTH2 = {
    "mode": "oauth2",
    "client_id": {"secret_ref": "admin/id"},
    "client_secret": {"secret_ref": "admin/secret"},
}
VENDED = {"mode": "vended_credentials"}

FILES: Mapping[str, str] = {
    "floe.yaml": """
name: shop
version: "1.0.0"
transforms: [{name: shop, project: dbt}]
""",
    "dbt/dbt_project.yml": "{name: shop_dbt, version: '1.0', config-version: 2}",
    "dbt/seeds/raw_orders.csv": "id,customer,amount\n1,ada,10\n2,grace,20\n3,ada,30\n",
    "dbt/models/orders.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, customer, amount, 'café' as place from {{ ref('raw_orders') }}
""",
    "dbt/models/customers.sql": """
{{ config(materialized='table') }}
select customer, sum(amount) as total, count(*) as orders from {{ ref('orders') }} group by customer
""",
    "dbt/models/best.sql": """
{{ config(materialized='view') }}
select customer, total from {{ ref('customers') }} where total > 20
""",
    "dbt/snapshots/seen.yml": """
snapshots:
  - name: seen
    relation: ref('raw_orders')
    config: {unique_key: id, strategy: check, check_cols: [amount]}
""",
}
"""A small product: a seed, an incremental model, a table, a view and a snapshot."""

CHANGED_SEED = "id,customer,amount\n2,grace,25\n3,ada,30\n4,margaret,40\n"
TABLES: Sequence[str] = ("raw_orders", "orders", "customers", "seen")
CONTENT: Mapping[str, str] = {
    "orders": "id,customer,amount,place\n1,ada,10,café\n2,grace,25,café\n3,ada,30,café\n"
    "4,margaret,40,café\n",
    "customers": "customer,total,orders\nada,40,2\ngrace,25,1\nmargaret,40,1\n",
    "best": "customer,total\nada,40\ngrace,25\nmargaret,40\n",
    "raw_orders": CHANGED_SEED,
}
"""What is in the tables after the first run, a change of the seed, and a second run, as CSV."""


def write_product(folder: Path, platform: Mapping[str, Any]) -> Path:
    """Write the product with a platform.yaml; gives the folder."""
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "platform.yaml").write_text(yaml.safe_dump(dict(platform)))
    return folder


def build_twice(folder: Path) -> tuple[FloeResult, FloeResult]:
    """Run the product of the current folder, change the seed, and run it again."""
    first = run_floe("run", "-v")
    (folder / "dbt/seeds/raw_orders.csv").write_text(CHANGED_SEED)
    return first, run_floe("run", "-v")


def queried(table: str) -> str:
    """The rows of a table as `floe query` gives them, in order, as CSV."""
    result = run_floe("query", "-o", "csv", f"select * from {table} order by 1")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def platform(catalog: Mapping[str, Any], storage: Mapping[str, Any]) -> dict[str, Any]:
    """A platform.yaml with one catalog and one storage."""
    return {
        "version": "1.1.0",
        "name": "lake",
        "catalogs": {"default": dict(catalog)},
        "storage": {"default": dict(storage)},
        "compute": {"default": {"type": "duckdb", "properties": {"threads": 2}}},
    }


def keys(who: str, secret: str | None = None) -> dict[str, Any]:
    """Credentials of the mode `static`: `id` and `secret` of a secret, or another secret."""
    return {
        "mode": "static",
        "username": {"secret_ref": f"{who}/id"},
        "password": {"secret_ref": secret or f"{who}/secret"},
    }


def rest(weed: Server, **changes: Any) -> dict[str, Any]:
    """The REST catalog of SeaweedFS."""
    known = {"type": "rest", "uri": weed.catalog, "warehouse": weed.warehouse}
    return {**known, "credentials": OAUTH2, **changes}


def glue(url: str, credentials: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Moto's Glue."""
    return {"type": "glue", "properties": {"glue.endpoint": url}, "credentials": credentials}


def bucket(
    endpoint: str, credentials: Mapping[str, Any] | None, name: str = "lake"
) -> dict[str, Any]:
    """A bucket of a server on this machine."""
    return {
        "type": "s3",
        "bucket": name,
        "region": "eu-central-1",
        "endpoint": endpoint,
        "path_style": True,
        "credentials": credentials,
    }


def open_default(entry: Mapping[str, Any], folder: Path) -> Catalog:
    """Open the catalog of a platform as the runtime does; secrets are variables of this process."""
    from floe_core import plugins
    from floe_core.schemas.platform import PlatformSpec
    from floe_core.secrets import variable_name
    from floe_iceberg import open_catalog

    spec = PlatformSpec.model_validate(dict(entry))
    profile = spec.catalogs["default"]
    client = plugins.catalog_client(profile.type)
    assert client is not None

    def value(ref: SecretRef) -> str:
        return os.environ[variable_name(ref.name, *([ref.entry] if ref.entry else []))]

    data = folder / ".floe/data/local"
    return open_catalog(client.properties(profile, spec.storage["default"], data, value))
