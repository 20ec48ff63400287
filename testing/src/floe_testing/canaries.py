"""Secrets that tests plant, and the search for their traces in all that floe leaves behind."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

from floe_testing.cli import FloeResult, run_floe

COMMANDS: Sequence[Sequence[str]] = (
    ("validate", "-v"),
    ("compile", "-v", "-o", "json"),
    ("platform", "show", "-v"),
    ("explain", "--all", "-o", "json"),
    ("list", "-v", "-o", "json"),
    ("diff", "--env", "local", "-v"),
    ("doctor", "-v", "--connect"),
    ("doctor", "-v", "--connect", "-o", "json"),
    ("plugins", "-v", "-o", "json"),
    ("run", "-v"),
    ("run", "-v", "--failed", "-o", "json"),
    ("run", "-v", "--select", "good", "--full-refresh"),
    ("run", "-v", "--select", "good", "--dry-run"),
    ("query", "-v", "-o", "json", "select * from good"),
    ("query", "-v", "select nothing from nowhere"),
    ("list", "-v", "-o", "json"),
)
"""What a day with a product is made of; some of it fails, on purpose."""


_NO_TEXTS: Mapping[str, str] = {}


def canary(name: str) -> str:
    """A secret that no text holds by chance, and that each way of quoting spells differently."""
    return f'c4n4ry-{name}/+é"\\&=%41'


def forms(secret: str) -> Mapping[str, bytes]:
    """How a secret may be spelled in a file, by a word for the spelling."""
    raw = secret.encode()
    texts = {
        "plain": secret,
        "JSON": json.dumps(secret, ensure_ascii=False)[1:-1],
        "ASCII JSON": json.dumps(secret)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "Python": repr(secret)[1:-1],
        "URL": quote(secret, safe=""),
        "URL path": quote(secret),
        "URL query": quote_plus(secret),
        "HTML": html.escape(secret),
        "base 16": raw.hex(),
        **{f"base 64 at {start}": _base64(raw, start) for start in range(3)},
        **{f"URL-safe base 64 at {start}": _url_safe(_base64(raw, start)) for start in range(3)},
    }
    return {"UTF-16": secret.encode("utf-16-le")} | {
        name: text.encode() for name, text in texts.items()
    }


def _base64(raw: bytes, start: int) -> str:
    """The characters that a longer text has in base 64 wherever the secret stands in it."""
    encoded = base64.b64encode(b"\0" * start + raw).decode()
    return encoded[-(-start * 8 // 6) : (start + len(raw)) * 8 // 6]


def _url_safe(text: str) -> str:
    return text.translate(str.maketrans("+/", "-_"))


def traces(
    secrets: Mapping[str, str], folders: Iterable[Path], texts: Mapping[str, str] = _NO_TEXTS
) -> list[str]:
    """Where a secret was left, as sentences without it; files of databases are read as bytes."""
    spelled = {name: forms(secret) for name, secret in secrets.items()}
    return [
        f"{name} stands as {form} in {place}"
        for place, content in (*_files(folders), *((k, v.encode()) for k, v in texts.items()))
        for name, spellings in spelled.items()
        for form, spelling in spellings.items()
        if spelling in content or spelling in place.encode()
    ]


def _files(folders: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


def live() -> dict[str, FloeResult]:
    """Run every command on the product of the current folder; what each printed, by its words."""
    return {" ".join(words): run_floe(*words) for words in COMMANDS}


def run_in_dagster(folder: Path) -> bool:
    """Run a compiled product as Dagster does from its pages; says whether all went well."""
    from floe_core.artifacts import load_artifacts
    from floe_core.layout import Layout
    from floe_dagster.definitions import build_definitions
    from floe_dagster.instance import open_instance

    layout = Layout(folder)
    definitions = build_definitions(load_artifacts(layout.artifacts), root=folder)
    with open_instance(layout) as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance, raise_on_error=False).success


def printed(results: Mapping[str, FloeResult]) -> dict[str, str]:
    """All that was printed, as texts to search."""
    return {f"floe {words}": result.stdout + result.stderr for words, result in results.items()}
