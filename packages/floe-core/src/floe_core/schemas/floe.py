"""`FloeSpec`: the schema of floe.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from floe_core.schemas.base import FloeModel, Identifier, SecretName, SemVer
from floe_core.schemas.governance import ProductGovernance
from floe_core.schemas.observability import ProductObservability

CronExpression = Annotated[str, Field(min_length=1)]


def check_cron(cron: str) -> str:
    """Return `cron` if it is a five-field cron expression or an `@daily`-like name.

    Raises:
        ValueError: if it is neither; the message says what is wrong with it.
    """
    from croniter import CroniterBadDateError, croniter

    expression = cron.strip()
    if not croniter.is_valid(expression) or not _has_five_fields(expression):
        raise ValueError(f"`{cron}` is not a cron expression; {_cron_help(expression)}")
    try:
        croniter(expression, _SOME_DAY).get_next()
    except CroniterBadDateError:
        raise ValueError(f"`{cron}` is a day that never comes") from None
    return cron


_SOME_DAY = 0.0
_CRON_NAMES = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
_CRON_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of the month": "1-31",
    "month": "1-12",
    "day of the week": "0-7",
}


def _has_five_fields(expression: str) -> bool:
    return expression.startswith("@") or len(expression.split()) == len(_CRON_FIELDS)


def _cron_help(expression: str) -> str:
    """What to write instead of an expression that is none."""
    from floe_core.diagnostics import near_miss

    fields = expression.split()
    if len(fields) == 1:
        nearest = near_miss(f"@{expression.lstrip('@')}", _CRON_NAMES) or _CRON_NAMES[1]
        return f"write five fields as in `0 6 * * *`, or a name such as `{nearest}`"
    if len(fields) != len(_CRON_FIELDS):
        return f"it has five fields, not {len(fields)}: {', '.join(_CRON_FIELDS)}"
    return _cron_field_at_fault(fields)


def _cron_field_at_fault(fields: list[str]) -> str:
    from croniter import croniter

    for number, (name, bounds) in enumerate(_CRON_FIELDS.items()):
        alone = ["*"] * number + [fields[number]] + ["*"] * (len(fields) - number - 1)
        if not croniter.is_valid(" ".join(alone)):
            return f"the {name} is {bounds}, not `{fields[number]}`"
    return f"its fields are {', '.join(_CRON_FIELDS)}"


def check_timezone(timezone: str) -> str:
    """Return `timezone` if it is a name of the IANA time zone database.

    Raises:
        ValueError: if it is not; the message offers the nearest name.
    """
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        from floe_core.diagnostics import near_miss

        nearest = near_miss(timezone, available_timezones())
        hint = f"; did you mean `{nearest}`?" if nearest else ""
        raise ValueError(f"`{timezone}` is not a time zone of the IANA database{hint}") from None
    return timezone


class PlatformPointer(FloeModel):
    """Points to the platform file."""

    manifest: str = Field(
        min_length=1, description="Path of platform.yaml, relative to floe.yaml; may hold `{env}`."
    )


class ProfileReferences(FloeModel):
    """Names of the platform entries that the product uses."""

    storage: Identifier = Field(default="default", description="Name of an entry of `storage`.")
    catalog: Identifier = Field(default="default", description="Name of an entry of `catalogs`.")
    compute: Identifier = Field(default="default", description="Name of an entry of `compute`.")


class ModelPath(FloeModel):
    """Some models of a dbt project."""

    path: str = Field(
        min_length=1, description="File, folder or glob, relative to the dbt project."
    )


class Transform(FloeModel):
    """A part of the product that is built together."""

    name: Identifier | None = Field(
        default=None, description="Name of the transform; the dbt project's name when absent."
    )
    type: Identifier = Field(default="dbt", description="Kind of transform.")
    project: str | None = Field(
        default=None, min_length=1, description="Folder of the dbt project, relative to floe.yaml."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of a dbt project, or of models in the project beside floe.yaml.",
    )
    models: tuple[ModelPath, ...] = Field(
        default=(), description="Narrows the project to these models."
    )
    select: str | None = Field(
        default=None, min_length=1, description="Narrows the project, in dbt's selection syntax."
    )
    entry: str | None = Field(
        default=None,
        min_length=1,
        description="Function that a Python transform calls, as `module:function`.",
    )
    description: str | None = Field(
        default=None, description="One sentence about the asset of a transform that is not dbt's."
    )
    depends_on: tuple[Identifier, ...] = Field(
        default=(), description="Transforms that are built before this one."
    )
    layer: Identifier | None = Field(default=None, description="Layer that its tables belong to.")
    tags: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,63}$")], ...] = Field(
        default=(), description="Tags of its assets."
    )
    target: Identifier | None = Field(
        default=None,
        description="dbt target name that its models see; the environment when absent.",
    )

    @model_validator(mode="after")
    def _narrowed_once(self) -> Transform:
        if self.project is not None and self.path is not None:
            raise ValueError("`path` is another spelling of `project`: write one of them")
        if self.models and self.select is not None:
            raise ValueError("`models` and `select` both narrow the project: write one of them")
        return self


class Schedule(FloeModel):
    """Runs transforms at set times."""

    name: Identifier = Field(description="Name of the schedule.")
    cron: CronExpression = Field(description="When to run: minute hour day month weekday.")
    timezone: str = Field(default="UTC", description="IANA time zone that `cron` is read in.")
    transforms: tuple[Identifier, ...] = Field(
        default=(), description="Transforms to run; all of the product when absent."
    )
    job: Identifier | None = Field(
        default=None, description="Job to run, in place of `transforms`."
    )
    enabled: bool = Field(default=True, description="Whether the schedule is on.")

    _cron = field_validator("cron")(check_cron)
    _timezone = field_validator("timezone")(check_timezone)

    @model_validator(mode="after")
    def _runs_one_thing(self) -> Schedule:
        if self.transforms and self.job is not None:
            raise ValueError("a schedule runs `transforms` or a `job`: write one of them")
        return self


class Job(FloeModel):
    """A named selection that can be run."""

    name: Identifier = Field(description="Name of the job.")
    transforms: tuple[Identifier, ...] = Field(default=(), description="Transforms to run.")
    select: str | None = Field(
        default=None, min_length=1, description="Models to run, in dbt's selection syntax."
    )

    @model_validator(mode="after")
    def _selects_once(self) -> Job:
        if bool(self.transforms) == (self.select is not None):
            raise ValueError("a job needs either `transforms` or `select`")
        return self


def check_file_pattern(path: str) -> str:
    """Return `path` if it is a file or glob on a file system.

    Raises:
        ValueError: if it is a URL or a folder.
    """
    if "://" in path:
        raise ValueError(f"`{path}` is not on a file system; mount it, and write a path")
    if path.endswith("/"):
        raise ValueError(f"`{path}` is a folder; write `{path}*` for the files in it")
    return path


class FileSensor(FloeModel):
    """Starts a job when files arrive or change."""

    name: Identifier = Field(description="Name of the sensor.")
    type: Literal["file"] = Field(description="What the sensor watches.")
    path: str = Field(
        min_length=1,
        description="File or glob (`**` for all folders below), relative to floe.yaml or absolute.",
    )
    job: Identifier = Field(description="Job that it starts.")
    interval_seconds: int = Field(default=60, ge=1, description="Seconds between two looks.")
    enabled: bool = Field(default=True, description="Whether the sensor is on.")

    _path = field_validator("path")(check_file_pattern)


class AssetSensor(FloeModel):
    """Starts a job when an asset is materialized, of this product or another."""

    name: Identifier = Field(description="Name of the sensor.")
    type: Literal["asset"] = Field(description="What the sensor watches.")
    asset: str = Field(min_length=1, description="Key of the asset, its parts joined by `/`.")
    job: Identifier = Field(description="Job that it starts.")
    interval_seconds: int = Field(default=60, ge=1, description="Seconds between two looks.")
    enabled: bool = Field(default=True, description="Whether the sensor is on.")


class RunStatusSensor(FloeModel):
    """Starts a job when a run of another job ends."""

    name: Identifier = Field(description="Name of the sensor.")
    type: Literal["run_status"] = Field(description="What the sensor watches.")
    monitored_jobs: tuple[Identifier, ...] = Field(
        min_length=1, description="Jobs whose runs it watches."
    )
    status: Literal["success", "failure", "canceled"] = Field(
        description="Outcome that it waits for."
    )
    job: Identifier = Field(description="Job that it starts.")
    interval_seconds: int = Field(default=60, ge=1, description="Seconds between two looks.")
    enabled: bool = Field(default=True, description="Whether the sensor is on.")


Sensor = Annotated[FileSensor | AssetSensor | RunStatusSensor, Field(discriminator="type")]


class PreAggregations(FloeModel):
    """Pre-aggregations of Cube."""

    refresh_schedule: CronExpression = Field(description="When they are refreshed, as cron.")

    _cron = field_validator("refresh_schedule")(check_cron)


class CubeSecurity(FloeModel):
    """Row-level security of Cube."""

    row_level: bool = Field(default=False, description="Whether rows are filtered by tenant.")
    tenant_column: str | None = Field(default=None, description="Column that names the tenant.")


class Cube(FloeModel):
    """The Cube semantic layer."""

    port: int = Field(default=4000, ge=1, le=65535, description="Port of its API.")
    api_secret_ref: SecretName | None = Field(
        default=None, description="Name of the secret that signs API tokens."
    )
    pre_aggregations: PreAggregations | None = Field(default=None, description="Rollups.")
    security: CubeSecurity | None = Field(default=None, description="Row-level security.")


class Consumption(FloeModel):
    """How the product's tables are served."""

    enabled: bool = Field(default=False, description="Whether the semantic layer is generated.")
    cube: Cube | None = Field(default=None, description="The Cube semantic layer.")


class ProductControlPlane(FloeModel):
    """The control plane that a product is pulled from."""

    api_url: str = Field(pattern=r"^https?://.+", description="Base URL of its API.")
    api_key_env: str = Field(
        default="FLOE_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the API key.",
    )


class FloeSpec(FloeModel):
    """floe.yaml: what to build."""

    name: Identifier = Field(description="Name of the data product.")
    version: SemVer = Field(description="Version of the product, in quotes, such as `1.0.0`.")
    description: str | None = Field(default=None, description="One sentence about the product.")
    owner: str | None = Field(
        default=None, description="Who answers for it: an e-mail address, or `team:name`."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the product, as tags of its runs."
    )
    platform: PlatformPointer | None = Field(
        default=None, description="Where platform.yaml is, when it is not found by itself."
    )
    profiles: ProfileReferences = Field(
        default_factory=ProfileReferences, description="Platform entries that the product uses."
    )
    transforms: tuple[Transform, ...] = Field(
        min_length=1, description="What is built, in any order."
    )
    schedules: tuple[Schedule, ...] = Field(default=(), description="When transforms run.")
    jobs: tuple[Job, ...] = Field(default=(), description="Named selections.")
    sensors: tuple[Sensor, ...] = Field(default=(), description="What starts a job by itself.")
    governance: ProductGovernance | None = Field(
        default=None, description="Policies; only stricter than the platform's."
    )
    observability: ProductObservability | None = Field(
        default=None, description="Signals that the product emits, and their attributes."
    )
    consumption: Consumption | None = Field(default=None, description="The semantic layer.")
    control_plane: ProductControlPlane | None = Field(
        default=None, description="The control plane that the product is pulled from."
    )
