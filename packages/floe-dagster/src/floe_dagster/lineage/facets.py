"""Facets: OpenLineage's own classes filled from facts, and floe's classification facet."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import attr
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    catalog_dataset,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    dataset_type_dataset,
    dataset_version_dataset,
    datasource_dataset,
    documentation_dataset,
    documentation_job,
    error_message_run,
    job_type_job,
    lifecycle_state_change_dataset,
    nominal_time_run,
    output_statistics_output_dataset,
    ownership_dataset,
    ownership_job,
    parent_run,
    processing_engine_run,
    schema_dataset,
    source_code_location_job,
    sql_job,
    storage_dataset,
    symlinks_dataset,
    tags_job,
    tags_run,
)

from floe_core.index import Node
from floe_core.schemas.artifacts import ColumnClassification
from floe_core.version import __version__
from floe_dagster.lineage.datasets import Dataset
from floe_dagster.lineage.facts import (
    ColumnLineage,
    ColumnSource,
    ParentRun,
    RunFacts,
    Size,
    SourceCode,
    TableColumn,
    TableFacts,
)
from floe_dbt.engine import NodeFinished

PRODUCER = f"https://floe.dev/floe/{__version__}"
"""Names floe as the origin of events and facets."""

CLASSIFICATION = "floe_classification"
"""Key of the classification facet."""

_OWNER = "MAINTAINER"
_T = TypeVar("_T")


@attr.define
class ClassifiedColumn:
    """What is said of a column's values."""

    classification: str
    pii_type: str | None = None
    sensitivity: str | None = None


@attr.define
class ClassificationFacet(DatasetFacet):
    """Classifications of the columns of a dataset, by the column's name."""

    columns: dict[str, ClassifiedColumn] = attr.field(factory=dict)

    @staticmethod
    def _get_schema() -> str:
        return "https://floe.dev/spec/facets/ClassificationFacet.json"


@lru_cache(maxsize=10_000)
def dataset_facets(dataset: Dataset) -> Mapping[str, DatasetFacet]:
    """What a dataset's name tells: its source, type, other names and catalog."""
    namespace = dataset.namespace
    facets: dict[str, DatasetFacet] = {
        "dataSource": _made(
            datasource_dataset.DatasourceDatasetFacet,
            name=namespace,
            uri=namespace if ":" in namespace else f"{namespace}://",
        ),
        "datasetType": _made(
            dataset_type_dataset.DatasetTypeDatasetFacet, datasetType=dataset.kind
        ),
    }
    if dataset.symlinks:
        facets["symlinks"] = _made(
            symlinks_dataset.SymlinksDatasetFacet,
            identifiers=[
                symlinks_dataset.Identifier(link.namespace, link.name, "TABLE")
                for link in dataset.symlinks
            ],
        )
    if dataset.catalog is not None:
        catalog = dataset.catalog
        facets["storage"] = _made(
            storage_dataset.StorageDatasetFacet, storageLayer="iceberg", fileFormat="parquet"
        )
        facets["catalog"] = _made(
            catalog_dataset.CatalogDatasetFacet,
            framework="iceberg",
            type=catalog.type,
            name=catalog.name,
            metadataUri=catalog.uri,
            warehouseUri=catalog.warehouse,
            source="floe",
        )
    return facets


def table_facets(
    node: Node, table: TableFacts, owner: str | None, classified: Mapping[str, ColumnClassification]
) -> dict[str, DatasetFacet]:
    """What is known of the table of a node: columns, words, owner, version, classifications."""
    facets: dict[str, DatasetFacet] = {}
    fields = _fields(node, table.columns)
    if fields:
        facets["schema"] = _made(schema_dataset.SchemaDatasetFacet, fields=fields)
    if node.description:
        facets["documentation"] = _made(
            documentation_dataset.DocumentationDatasetFacet, description=node.description
        )
    if owner:
        facets["ownership"] = _made(
            ownership_dataset.OwnershipDatasetFacet,
            owners=[ownership_dataset.Owner(owner, _OWNER)],
        )
    if table.version:
        facets["version"] = _made(
            dataset_version_dataset.DatasetVersionDatasetFacet, datasetVersion=table.version
        )
    if table.change:
        facets["lifecycleStateChange"] = _made(
            lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet,
            lifecycleStateChange=lifecycle_state_change_dataset.LifecycleStateChange[table.change],
        )
    if classified:
        facets[CLASSIFICATION] = _made(
            ClassificationFacet,
            columns={
                name: ClassifiedColumn(known.classification, known.pii_type, known.sensitivity)
                for name, known in classified.items()
            },
        )
    return facets


def column_lineage(
    known: ColumnLineage, node: Node, table: TableFacts, datasets: Mapping[str, Dataset]
) -> dict[str, DatasetFacet]:
    """Column lineage: only columns that the table has, and of which every source is known."""
    real = {column.name.lower(): column.name for column in table.columns}
    fields = {}
    for name, sources in known.columns.items():
        shown = real.get(name.lower()) if real else name
        if shown and sources and all(source.node in datasets for source in sources):
            inputs = _input_fields(sources, datasets)
            fields[shown] = column_lineage_dataset.Fields(inputFields=inputs)
    rows = [source for source in known.rows if source.node in datasets]
    if not fields and not rows:
        return {}
    facet = _made(
        column_lineage_dataset.ColumnLineageDatasetFacet,
        fields=fields,
        dataset=_input_fields(rows, datasets),
    )
    return {"columnLineage": facet}


def output_facets(written: Size) -> dict[str, OutputDatasetFacet]:
    """How much was written."""
    if written == Size():
        return {}
    facet = _made(
        output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
        rowCount=written.rows,
        size=written.bytes,
        fileCount=written.files,
    )
    return {"outputStatistics": facet}


def quality_facets(
    results: Sequence[tuple[Node, NodeFinished]], size: Size
) -> dict[str, InputDatasetFacet]:
    """Results of the tests of a dataset, and how much was tested."""
    facets: dict[str, InputDatasetFacet] = {}
    if results:
        facets["dataQualityAssertions"] = _made(
            data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
            assertions=[_assertion(test, result) for test, result in results],
        )
    if size != Size():
        facets["dataQualityMetrics"] = _made(
            data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet,
            columnMetrics={},
            rowCount=size.rows,
            bytes=size.bytes,
            fileCount=size.files,
        )
    return facets


def job_facets(
    run: RunFacts,
    *,
    kind: str,
    integration: str,
    description: str | None = None,
    owner: str | None = None,
    tags: Iterable[str] = (),
    path: str | None = None,
) -> dict[str, JobFacet]:
    """What a job is: its type, words, owner, tags and place in the repository."""
    facets: dict[str, JobFacet] = {
        "jobType": _made(
            job_type_job.JobTypeJobFacet,
            processingType="BATCH",
            integration=integration,
            jobType=kind,
        )
    }
    if description:
        facets["documentation"] = _made(
            documentation_job.DocumentationJobFacet, description=description
        )
    if owner:
        facets["ownership"] = _made(
            ownership_job.OwnershipJobFacet, owners=[ownership_job.Owner(owner, _OWNER)]
        )
    marked = [tags_job.TagsJobFacetFields(tag, "true", "DBT") for tag in tags]
    marked += [tags_job.TagsJobFacetFields(key, text, "FLOE") for key, text in run.labels.items()]
    if marked:
        facets["tags"] = _made(tags_job.TagsJobFacet, tags=marked)
    if run.source is not None:
        facets["sourceCodeLocation"] = _location(run.source, path)
    return facets


def sql_facet(query: str, dialect: str) -> JobFacet:
    """The SQL of a job."""
    return _made(sql_job.SQLJobFacet, query=query, dialect=dialect)


def run_facets(
    run: RunFacts,
    *,
    parent: ParentRun | None,
    engine: tuple[str, str],
    nominal: tuple[datetime, datetime | None] | None,
    error: str | None = None,
    language: str = "PYTHON",
) -> dict[str, RunFacet]:
    """What a run is: who started it, for when, on what, and why it failed."""
    facets: dict[str, RunFacet] = {}
    if parent is not None:
        facets["parent"] = _parent(parent)
    if nominal is not None:
        start, end = nominal
        facets["nominalTime"] = _made(
            nominal_time_run.NominalTimeRunFacet,
            nominalStartTime=start.isoformat(),
            nominalEndTime=end.isoformat() if end else None,
        )
    name, version = engine
    facets["processing_engine"] = _made(
        processing_engine_run.ProcessingEngineRunFacet,
        version=version,
        name=name,
        openlineageAdapterVersion=__version__,
    )
    facts = {"environment": run.environment, "version": run.version}
    tags = [tags_run.TagsRunFacetFields(key, text, "FLOE") for key, text in facts.items() if text]
    if tags:
        facets["tags"] = _made(tags_run.TagsRunFacet, tags=tags)
    if error is not None:
        facets["errorMessage"] = _made(
            error_message_run.ErrorMessageRunFacet, message=error, programmingLanguage=language
        )
    return facets


def _made(facet: Callable[..., _T], **fields: Any) -> _T:
    return facet(producer=PRODUCER, **fields)


def _fields(
    node: Node, columns: Sequence[TableColumn]
) -> list[schema_dataset.SchemaDatasetFacetFields]:
    """The columns of the table, else those that the project documents."""
    documented = {column.name.lower(): column for column in node.columns}
    shown: Iterable[TableColumn] = columns or (
        TableColumn(column.name, column.data_type, column.description) for column in node.columns
    )
    fields = []
    for position, column in enumerate(shown, 1):
        words = documented.get(column.name.lower())
        fields.append(
            schema_dataset.SchemaDatasetFacetFields(
                name=column.name,
                type=column.type,
                description=column.description or (words.description if words else "") or None,
                ordinal_position=position if columns else None,
                fields=None,
            )
        )
    return fields


def _input_fields(
    sources: Iterable[ColumnSource], datasets: Mapping[str, Dataset]
) -> list[column_lineage_dataset.InputField]:
    """Columns of datasets, each once, with all that is done to it."""
    found: dict[tuple[str, str, str], list[column_lineage_dataset.Transformation]] = {}
    for source in sources:
        dataset = datasets[source.node]
        done = column_lineage_dataset.Transformation(
            type=source.type, subtype=source.subtype, masking=source.is_masked
        )
        known = found.setdefault((dataset.namespace, dataset.name, source.column), [])
        if done not in known:
            known.append(done)
    return [
        column_lineage_dataset.InputField(namespace, name, column, transformations=done)
        for (namespace, name, column), done in found.items()
    ]


def _assertion(test: Node, result: NodeFinished) -> data_quality_assertions_dataset.Assertion:
    return data_quality_assertions_dataset.Assertion(
        assertion=test.test_name or test.name,
        success=result.status == "pass",
        column=test.column_name,
        severity=test.severity.lower() if test.severity else None,
        name=test.name,
        description=test.description or None,
        actual=None if result.failures is None else str(result.failures),
    )


def _location(source: SourceCode, path: str | None) -> JobFacet:
    inside = posixpath.normpath(posixpath.join(source.folder, path or "."))
    return _made(
        source_code_location_job.SourceCodeLocationJobFacet,
        type="git",
        url=f"{source.repository}/{'blob' if path else 'tree'}/{source.commit}"
        + ("" if inside == "." else f"/{inside}"),
        repoUrl=source.repository,
        path=inside,
        version=source.commit,
    )


def _parent(parent: ParentRun) -> RunFacet:
    root = parent.root or parent
    return _made(
        parent_run.ParentRunFacet,
        run=parent_run.Run(parent.run_id, facets=None),
        job=parent_run.Job(parent.namespace, parent.name, facets=None),
        root=parent_run.Root(
            run=parent_run.RootRun(root.run_id, facets=None),
            job=parent_run.RootJob(root.namespace, root.name, facets=None),
        ),
    )
