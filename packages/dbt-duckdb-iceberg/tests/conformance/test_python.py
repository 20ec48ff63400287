"""Python models."""

from __future__ import annotations

import pytest
from dbt.tests.adapter.python_model import test_python_model as python
from dbt.tests.adapter.python_model.test_python_model import (
    BasePythonEmptyTests,
    BasePythonIncrementalTests,
    BasePythonMetaGetTests,
    BasePythonModelTests,
    BasePythonSampleTests,
)


class InUtc:
    @pytest.fixture(scope="class")
    def input_model_sql(self) -> str:
        return python._input_model_sql.replace("00-0'", "00'")


def of_pandas(code: str) -> str:
    """A model for Spark's session, with a frame of pandas in place of Spark's."""
    made = code.replace("session.createDataFrame(data, ", "pandas.DataFrame(data, columns=")
    assert made != code
    return f"import pandas\n{made}"


class TestPythonModel(BasePythonModelTests):
    pass


class TestPythonIncremental(BasePythonIncrementalTests):
    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        # A relation of DuckDB is filtered by an expression, a frame of Spark by a column.
        code = python.incremental_python.replace("df.id > 5", "'id > 5'")
        return {"m_1.sql": python.m_1, "incremental.py": code}


class TestPythonMetaGet(BasePythonMetaGetTests):
    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        return {
            "meta_test.py": of_pandas(python.python_model_meta_get),
            "meta_from_schema.py": of_pandas(python.python_model_meta_from_schema),
            "schema.yml": python.schema_yml_with_meta,
        }


class TestPythonEmpty(InUtc, BasePythonEmptyTests):
    pass


class TestPythonSample(InUtc, BasePythonSampleTests):
    pass
