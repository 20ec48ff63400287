"""The files of a git commit, in a temporary folder; the repository itself stays as it is."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from floe_core.errors import UsageError


@dataclass(frozen=True)
class Commit:
    """A commit of the repository that a folder is in.

    Attributes:
        ref: The commit as the user named it.
        id: Its full id.
        repository: Top folder of the repository.
    """

    ref: str
    id: str
    repository: Path


def find_commit(folder: Path, ref: str) -> Commit | None:
    """The commit that `ref` names in the repository of a folder; None when there is none."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    commit = _git(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
    )
    return None if commit is None else Commit(ref, commit, Path(top))


def remote_url(folder: Path) -> str | None:
    """URL of the remote that the repository of a folder came from; it may hold a password."""
    return _git(folder, "config", "--get", "remote.origin.url") or None


@contextmanager
def checked_out(commit: Commit) -> Iterator[Path]:
    """Write the files of a commit to a temporary folder, which is removed afterwards.

    Needs no network: what a partial clone has not fetched is an error.

    Raises:
        UsageError: if git cannot write them.
    """
    with tempfile.TemporaryDirectory(prefix="floe-") as name:
        scratch = Path(name).resolve()
        files = scratch / "files"
        files.mkdir()
        index = {"GIT_INDEX_FILE": str(scratch / "index")}
        top = commit.repository
        is_done = (
            _git(top, "read-tree", commit.id, more=index) is not None
            and _git(top, "checkout-index", "--all", f"--prefix={files}/", more=index) is not None
        )
        if not is_done:
            raise UsageError(
                f"git cannot write out the files of `{commit.ref}`",
                help="In a partial or shallow clone, fetch the commit first.",
            )
        (files / ".git").mkdir(exist_ok=True)  # where looking upward for platform.yaml ends
        yield files


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str | None:
    """What a git command that changes nothing prints; None when it fails."""
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_LFS_SKIP_SMUDGE": "1"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **quiet, **(more or {})},
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
