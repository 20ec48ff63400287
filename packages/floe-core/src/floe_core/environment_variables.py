"""The environment variables that floe reads or sets, in one register."""

FLOE_ENV = "FLOE_ENV"
"""Name of the environment, when `--env` is not given."""

FLOE_PLATFORM_FILE = "FLOE_PLATFORM_FILE"
"""Path of platform.yaml, when `--platform` is not given."""

FLOE_ARTIFACTS = "FLOE_ARTIFACTS"
"""Path of the artifacts that a code location loads, instead of `.floe/artifacts.json`."""

FLOE_PROJECT_DIR = "FLOE_PROJECT_DIR"
"""Project root that paths in artifacts are relative to. floe sets it while dbt runs."""

FLOE_START_SCHEDULES = "FLOE_START_SCHEDULES"
"""`1` starts enabled schedules in environment `local` too; `0` leaves them stopped everywhere."""

FLOE_SECRETS_DIR = "FLOE_SECRETS_DIR"
"""Folder of mounted secrets, `NAME/KEY` below it; `/etc/floe/secrets` when unset."""

FLOE_NO_TELEMETRY = "FLOE_NO_TELEMETRY"
"""`1` or `true` turns telemetry and lineage off, whatever platform.yaml says."""

OTEL_SDK_DISABLED = "OTEL_SDK_DISABLED"
"""`true` turns traces, metrics and logs off."""

VAULT_MOUNT = "VAULT_MOUNT"
"""Mount of the KV engine that the secret backend `vault` reads; `secret` when unset."""

VAULT_ROLE = "VAULT_ROLE"
"""Role that the secret backend `vault` signs in to with the service account of its pod."""

VAULT_AUTH_MOUNT = "VAULT_AUTH_MOUNT"
"""Mount of Vault's auth method; `approle` or `kubernetes` when unset."""

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
"""Seconds since 1970 that `compiled_at` is set to, for reproducible builds."""

DAGSTER_HOME = "DAGSTER_HOME"
"""Folder of the Dagster instance; `.floe/dagster` when unset."""

NO_COLOR = "NO_COLOR"
"""Any value turns colours off (https://no-color.org)."""

GITHUB_WORKSPACE = "GITHUB_WORKSPACE"
"""Root of the checkout in a GitHub workflow; `--output github` and `sarif` start paths there."""

OPENLINEAGE_URL = "OPENLINEAGE_URL"
"""Base URL of the lineage server, when `observability.lineage` names no endpoint."""

OPENLINEAGE_ENDPOINT = "OPENLINEAGE_ENDPOINT"
"""Path below `OPENLINEAGE_URL` that takes lineage events; `api/v1/lineage` when unset."""

OPENLINEAGE_API_KEY = "OPENLINEAGE_API_KEY"
"""Key of the lineage server, when `observability.lineage` has none."""

OPENLINEAGE_NAMESPACE = "OPENLINEAGE_NAMESPACE"
"""Namespace of the product's jobs, when `observability.lineage` has none."""

OPENLINEAGE_DISABLED = "OPENLINEAGE_DISABLED"
"""`true` switches lineage off, whatever the files say."""

OPENLINEAGE_PARENT_ID = "OPENLINEAGE_PARENT_ID"
"""The run that started this one, as `namespace/name/run id`; lineage events name it."""

OPENLINEAGE_ROOT_PARENT_ID = "OPENLINEAGE_ROOT_PARENT_ID"
"""The run at the top of those that started this one, in the same form."""
