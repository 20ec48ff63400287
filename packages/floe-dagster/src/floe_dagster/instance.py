"""The Dagster instance that runs are recorded in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

from floe_core.environment_variables import DAGSTER_HOME
from floe_core.errors import UsageError
from floe_core.layout import Layout, make_folder, write_atomic
from floe_dagster.event_log import PooledSqliteEventLogStorage

_DAGSTER_YAML = b"""# The Dagster instance of this project. Written once; change it as you like.
telemetry:
  enabled: false
"""
_OVERRIDES = {
    "telemetry": {"enabled": False},
    # Capturing a step's output redirects the whole process's, and with it what the listener prints.
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


def prepare_home(layout: Layout) -> Path:
    """Folder of the Dagster instance: `DAGSTER_HOME`, else `.floe/dagster`, made when missing.

    In a folder of floe's own, a dagster.yaml without telemetry is written unless there is one.
    Nothing is written to a folder that `DAGSTER_HOME` names.

    Raises:
        UsageError: if `DAGSTER_HOME` names no folder.
    """
    named = os.environ.get(DAGSTER_HOME)
    if named:
        home = Path(named).expanduser().absolute()
        if not home.is_dir():
            raise UsageError(
                f"{DAGSTER_HOME} is {named}, which is not a folder",
                help=f"Make it with `mkdir -p {shlex.quote(str(home))}`, or unset {DAGSTER_HOME}.",
            )
        return home
    home = layout.dagster_home
    make_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_atomic(settings, _DAGSTER_YAML)
    return home


def open_instance(layout: Layout) -> dg.DagsterInstance:
    """Open the instance for a run in this process.

    Whatever its settings say, Dagster's usage statistics are off and output is not captured.
    """
    home = str(prepare_home(layout))
    ref = InstanceRef.from_dir(home, overrides=_OVERRIDES)
    events = ref.event_storage_data
    if events is not None and events.class_name == SqliteEventLogStorage.__name__:
        ref = InstanceRef.from_dir(home, overrides={**_OVERRIDES, **_pooled(events)})
    return dg.DagsterInstance.from_ref(ref)


def instance_ref(layout: Layout) -> InstanceRef:
    """What Dagster's own programs need to open the same instance.

    Whatever its settings say, Dagster's usage statistics and its newsletter form are off.
    """
    overrides = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    return InstanceRef.from_dir(str(prepare_home(layout)), overrides=overrides)


def _pooled(events: ConfigurableClassData) -> Mapping[str, Any]:
    storage = {
        "module": PooledSqliteEventLogStorage.__module__,
        "class": PooledSqliteEventLogStorage.__name__,
        "config": events.config_dict,
    }
    return {"event_log_storage": storage}
