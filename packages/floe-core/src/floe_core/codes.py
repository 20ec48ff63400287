"""The codes of all diagnostics; a code keeps its meaning and is never used for another."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    # Files
    "FLOE-F001": "A file does not exist.",
    "FLOE-F002": "A folder was given in place of a file.",
    "FLOE-F003": "A file cannot be read: a loop of links, no permission, not a regular file.",
    "FLOE-F004": "A file is larger than 5 MiB.",
    "FLOE-F005": "A file is not UTF-8.",
    "FLOE-F006": "No platform.yaml was found for the environment.",
    # YAML
    "FLOE-Y001": "The file is not valid YAML, or uses a tag.",
    "FLOE-Y002": "A key is written twice.",
    "FLOE-Y003": "A line is indented with a tab.",
    "FLOE-Y004": "The file is empty.",
    "FLOE-Y005": "The file is nested too deeply, or its aliases repeat too much.",
    "FLOE-Y006": "The file is not one mapping of keys and values.",
    # Schema
    "FLOE-S001": "A key is not known.",
    "FLOE-S002": "A key is missing.",
    "FLOE-S003": "A value is of the wrong type.",
    "FLOE-S004": "A value is not one of those that are known.",
    "FLOE-S005": "A value does not have the form that it needs: a name, a version, a URL, a cron.",
    "FLOE-S006": "The same is written in two spellings.",
    "FLOE-S007": "A number is out of range.",
    # Secrets
    "FLOE-X001": "A literal secret stands where only a reference may stand.",
    # References
    "FLOE-R001": "A reference names a platform entry that does not exist.",
    "FLOE-R002": "The engine has no such connection property.",
    "FLOE-R003": "There is no adapter for the engine.",
    "FLOE-R004": "There is no such kind of transform.",
    "FLOE-R005": "The platform file is for another environment.",
    "FLOE-R006": "Two things have the same name.",
    "FLOE-R007": "`depends_on` names a transform that does not exist.",
    "FLOE-R008": "Transforms depend on each other in a circle.",
    "FLOE-R009": "A schedule or job names a transform that does not exist.",
    "FLOE-R010": "A schedule or sensor names a job that does not exist.",
    "FLOE-R012": "A dbt project cannot be found or read.",
    "FLOE-R013": "A model path names no file.",
    "FLOE-R014": "Two transforms claim the same model.",
    "FLOE-R015": "`depends_on` contradicts dbt's own graph.",
    "FLOE-R016": "Two models write one table.",
    "FLOE-R017": "A path is absolute, or leaves the dbt project.",
    "FLOE-R018": "The engine cannot work with a value of its profile.",
    # Kinds of transforms
    "FLOE-T001": "A key means nothing to this kind of transform.",
    "FLOE-T002": "A Python transform lacks `name` or `entry`, or `entry` names no function.",
    "FLOE-T003": "The module or the function of a Python transform cannot be found or read.",
    # Plugins
    "FLOE-G001": "An installed plugin cannot be loaded, or fails.",
    "FLOE-G002": "Two installed distributions register a plugin of one name.",
    "FLOE-G003": "No catalog, exporter or secret backend of this name is installed.",
    "FLOE-G004": "A catalog, a storage, an exporter or lineage cannot work with what is written.",
    "FLOE-G005": "A catalog, a storage or a place of telemetry is reached without encryption "
    "(warning).",
    "FLOE-G006": "A catalog is asked for more than one role (warning).",
    "FLOE-G007": "floe.yaml sets an attribute that floe sets itself.",
    # dbt
    "FLOE-D001": "dbt cannot parse the project.",
    "FLOE-D002": "A transform selects nothing, or its selection is not valid.",
    "FLOE-D003": "dbt packages are missing or out of date: `floe deps` fetches them.",
    "FLOE-D004": "Models belong to no transform (warning).",
    "FLOE-D005": "dbt warned while it parsed (warning).",
    # Jobs, schedules and sensors
    "FLOE-O001": "A name is reserved, or cannot stand beside another in Dagster.",
    "FLOE-O002": "Sensors start jobs in a circle.",
    "FLOE-O003": "A job selects nothing, or its selection is not valid.",
    "FLOE-O004": "A sensor waits for an asset that the product does not know (warning).",
    # Policies
    "FLOE-P001": "floe.yaml weakens the platform's governance (exit code 4).",
    "FLOE-P002": "Too few models have a test (exit code 4 when the level is strict).",
    "FLOE-P003": "`meta.floe` of a dbt column has no classification (warning).",
    # Not yet
    "FLOE-N001": "floe does not act on a section yet (warning).",
}
"""What each code means."""
