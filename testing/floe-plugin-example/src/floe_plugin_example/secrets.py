"""`lines`: secrets in a file of `NAME/KEY=value` lines."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe_core.errors import SecretUnreadableError
from floe_core.plugins import SecretRef

if TYPE_CHECKING:
    from floe_core.plugins import SecretBackend

VARIABLE = "EXAMPLE_SECRETS"


class Lines:
    """Looks a secret up in the file that `EXAMPLE_SECRETS` names."""

    def places(self, ref: SecretRef) -> Sequence[str]:
        """The line that may hold the secret."""
        file = os.environ.get(VARIABLE)
        return [f"line {_name(ref)}= of {file or f'the file that {VARIABLE} would name'}"]

    def find(self, ref: SecretRef) -> str | None:
        """The value of the line."""
        file = os.environ.get(VARIABLE)
        if not file:
            return None
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SecretUnreadableError(f"{file} cannot be read") from None
        pairs = dict(line.split("=", 1) for line in lines if "=" in line)
        return pairs.get(_name(ref))


def _name(ref: SecretRef) -> str:
    return f"{ref.name}/{ref.entry}" if ref.entry else ref.name


if TYPE_CHECKING:
    _: type[SecretBackend] = Lines
