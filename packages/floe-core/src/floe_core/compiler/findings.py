"""What plugins find, at its place in a user's file."""

from __future__ import annotations

from pathlib import Path

from floe_core.diagnostics import (
    Diagnostic,
    FieldPath,
    Position,
    Severity,
)
from floe_core.masking import mask_unread
from floe_core.plugins import (
    Finding,
)
from floe_core.source import Source


def from_finding(source: Source, at: FieldPath, finding: Finding) -> Diagnostic:
    """Give a plugin's finding its place in the file."""
    severity: Severity = "warning" if finding.is_warning else "error"
    if finding.file is not None:
        file = source.path.parent / finding.file
        position, text = _whole_line(file, finding.line)
        return Diagnostic(
            finding.code, severity, finding.message, file, None, position, text, finding.help
        )
    return source.diagnostic(
        finding.code,
        (*at, *finding.field),
        finding.message,
        help=finding.help,
        severity=severity,
        on_key=finding.on_key,
    )


def _whole_line(file: Path, line: int | None) -> tuple[Position | None, str | None]:
    """The position and text of a line, from its first character that is not blank."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None, None
    if line is None or not 1 <= line <= len(lines):
        return None, None
    text = mask_unread(lines, line) if file.suffix in {".yml", ".yaml"} else lines[line - 1]
    start = len(text) - len(text.lstrip()) + 1
    return Position(line, start, max(len(text.rstrip()) + 1, start + 1)), text
