"""`TransformContext`: what a Python transform is called with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floe_core.schemas.base import JsonValue


@dataclass(frozen=True, slots=True)
class TransformContext:
    """The one argument of a Python transform's function, and of `TransformExecutor.execute`.

    A test of such a function makes one itself:

    >>> import logging, sqlite3
    >>> from pathlib import Path
    >>> database = sqlite3.connect(":memory:")
    >>> context = TransformContext(
    ...     product="shop",
    ...     environment="local",
    ...     root=Path(),
    ...     logger=logging.getLogger(),
    ...     connect=lambda: database,
    ... )
    >>> context.connect().execute("select 1").fetchone()
    (1,)

    Attributes:
        product: Name of the data product.
        environment: Name of the environment.
        root: Absolute project root, the folder of floe.yaml.
        logger: Writes to the log of the run, which Dagster shows with the asset.
        connect: Gives the connection to the product's compute, as its driver makes it: DuckDB's,
            psycopg2's. Each call gives the same one. What is done on it is one transaction: it is
            committed when the function returns and rolled back when it raises, and floe closes the
            connection.
        vars: The dbt vars that were given with `--vars`.
        full_refresh: Whether `floe run --full-refresh` asked to rebuild from nothing.
    """

    product: str
    environment: str
    root: Path
    logger: logging.Logger
    connect: Callable[[], Any] = field(repr=False)
    vars: Mapping[str, JsonValue] = field(default_factory=dict)
    full_refresh: bool = False
