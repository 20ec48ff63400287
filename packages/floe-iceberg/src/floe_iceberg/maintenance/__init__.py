"""What keeps a table small: old snapshots leave, files that nobody needs go, small files merge.

Each function decides first and acts then, so that a dry run says what a run would do. Whatever is
removed is removed after the catalog knows that nobody needs it.
"""

from floe_iceberg.maintenance.compaction import compact
from floe_iceberg.maintenance.expiry import expire_snapshots, set_retention
from floe_iceberg.maintenance.orphans import ORPHAN_AGE, remove_orphan_files
from floe_iceberg.maintenance.report import Amount, Kept, Leaving, Report

__all__ = [
    "ORPHAN_AGE",
    "Amount",
    "Kept",
    "Leaving",
    "Report",
    "compact",
    "expire_snapshots",
    "remove_orphan_files",
    "set_retention",
]
