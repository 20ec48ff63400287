"""A dbt adapter: DuckDB computes, and tables are Iceberg tables."""

from dbt.adapters.base import AdapterPlugin

from dbt.adapters.duckdb_iceberg.credentials import IcebergCredentials
from dbt.adapters.duckdb_iceberg.impl import IcebergAdapter
from dbt.include import duckdb_iceberg

Plugin = AdapterPlugin(
    adapter=IcebergAdapter,
    credentials=IcebergCredentials,
    include_path=duckdb_iceberg.PACKAGE_PATH,
    dependencies=["duckdb"],
)
