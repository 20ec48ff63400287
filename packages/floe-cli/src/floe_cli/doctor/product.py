"""The product: its files, its engine, its dbt projects and its secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from floe_cli.doctor.check import Check, Section, Status
from floe_cli.output import count_findings, plural, shown_path
from floe_core import secrets
from floe_core.compiler.discovery import LOCAL, find_platform_file
from floe_core.compiler.load import Loaded, load
from floe_core.compiler.plugins import secret_backends
from floe_core.compiler.request import CompileRequest
from floe_core.compiler.resolve import Resolved, resolve
from floe_core.compiler.validation import value_at
from floe_core.diagnostics import Diagnostic, Report, display_path
from floe_core.environment_variables import FLOE_ENV
from floe_core.errors import FloeError, QueryError, SecretNotFoundError
from floe_core.lake import Lake
from floe_core.schemas.secret import SecretRef


@dataclass(frozen=True)
class Product:
    """A product as far as it can be read.

    Attributes:
        request: What was asked for.
        options: The options that the next command needs as well, with a space before.
        loaded: Both files.
        resolved: The product in its environment; None when too much is wrong.
        diagnostics: What is wrong with the files.
    """

    request: CompileRequest
    options: str
    loaded: Loaded
    resolved: Resolved | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def environment(self) -> str:
        """Name of the environment, also of a product that is broken."""
        said = self.loaded.platform.environment if self.loaded.platform else None
        return self.request.wanted_environment or said or LOCAL


def read_product(request: CompileRequest, options: str) -> Product:
    """Read both files, as `floe validate` does.

    Raises:
        UsageError: if the environment that was asked for cannot be the name of one.
    """
    report = Report()
    loaded = load(request, report)
    resolved = resolve(loaded, report)
    return Product(request, options, loaded, resolved, tuple(report.sorted()))


def files(product: Product) -> Section:
    """The files are there, and valid."""
    return Section(
        "Files",
        (
            floe_file(product),
            environment(product),
            platform_file(product),
            validity(product),
        ),
    )


def floe_file(product: Product) -> Check:
    """Where floe.yaml is."""
    name = f"product {product.loaded.floe.name}" if product.loaded.floe else "a product"
    return Check("ok", f"{name}, in {shown_path(product.request.floe_file)}")


def environment(product: Product) -> Check:
    """Which environment, and who says so."""
    request = product.request
    if request.environment:
        source = "`--env`"
    elif request.environ.get(FLOE_ENV):
        source = FLOE_ENV
    elif product.loaded.platform and product.loaded.platform.environment:
        source = "the platform file"
    else:
        source = "nothing else was asked for"
    category = f", category {product.resolved.category}" if product.resolved else ""
    return Check("ok", f"the environment is {product.environment}{category} ({source})")


def platform_file(product: Product) -> Check:
    """Which platform file, and why that one."""
    request = product.request
    pointer = value_at(product.loaded.floe_source.data, ("platform", "manifest"))
    choice = find_platform_file(request, pointer if isinstance(pointer, str) else None)
    searched = tuple(
        f"{'found' if os.path.lexists(path) else 'not there'}: {display_path(path)}"
        for path in choice.searched
    )
    if choice.path is None:
        if product.environment == LOCAL:
            message = "there is no platform file: the built-in platform is used"
            return Check("ok", message, details=searched)
        message = f"there is no platform.yaml for environment {product.environment}"
        mend = f"write platform/{product.environment}/platform.yaml, or name one with `--platform`"
        return Check("problem", message, mend, searched)
    message = f"the platform file is {display_path(choice.path)}: {choice.reason}"
    if not choice.path.is_file():
        return Check("problem", f"{message}, which cannot be read", "write it", searched)
    return Check("ok", message, details=searched)


def validity(product: Product) -> Check:
    """Both files are valid."""
    if any(diagnostic.is_error for diagnostic in product.diagnostics):
        message = f"the files are not valid: {count_findings(product.diagnostics)}"
        return Check("problem", message, f"floe validate{product.options}")
    if product.diagnostics:
        message = f"the files are valid, with {count_findings(product.diagnostics)}"
        return Check("warning", message, f"floe validate{product.options}")
    return Check("ok", "the files are valid")


def engine(product: Product, *, is_connecting: bool) -> Section | None:
    """The engine's adapter is installed, and the engine can be reached if that is asked for."""
    if product.resolved is None:
        missing = [d for d in product.diagnostics if d.code == "FLOE-R003"]
        checks = [Check("problem", d.message, d.help) for d in missing]
        return Section("Engine", tuple(checks)) if checks else None
    checks = [adapter(product.resolved)]
    if is_connecting:
        checks += connections(product.resolved)
    return Section("Engine", tuple(checks))


def adapter(resolved: Resolved) -> Check:
    """The dbt adapter of the engine."""
    name = resolved.target.distribution
    compute = resolved.profiles.compute
    try:
        installed = version(name)
    except PackageNotFoundError:
        message = f"compute `{compute.name}` is {compute.profile.type}: {name} is not installed"
        return Check("problem", message, f"pip install {name}")
    return Check(
        "ok", f"compute `{compute.name}` is {compute.profile.type}, with {name} {installed}"
    )


def connections(resolved: Resolved) -> Iterator[Check]:
    """The engine answers a query, and each Iceberg catalog says what it has."""
    compute = resolved.profiles.compute.profile
    root = resolved.loaded.request.root
    lake = resolved.lake
    try:
        values = secrets.resolve(resolved.secrets, secret_backends(resolved.platform.security))
        resolved.target.query(compute, resolved.environment, root, values, "select 1", 1, lake)
    except QueryError as problem:  # there is nothing to ask yet: no run has made the database
        yield Check("warning", problem.message, problem.help)
        return
    except FloeError as problem:
        yield Check("problem", problem.message, problem.help)
        return
    yield Check("ok", f"{compute.type} answers")
    if lake is not None:
        yield from (catalog(lake, key, root, values) for key in lake.catalogs)


def catalog(lake: Lake, key: str, root: Path, values: Mapping[str, str]) -> Check:
    """A catalog says which namespaces it has."""
    from floe_iceberg import explained, open_catalog

    entry = lake.catalogs[key]
    try:
        properties = lake.properties(key, root, values)
        with explained(entry.name, properties):
            count = len(open_catalog(properties).list_namespaces())
    except FloeError as problem:
        return Check("problem", problem.message, problem.help)
    has = f"has {plural(count, 'namespace')}"
    return Check("ok", f"catalog `{entry.name}` is {entry.profile.type}, answers and {has}")


def projects(product: Product) -> Section | None:
    """The dbt projects can be read, and their packages are there."""
    if product.resolved is None:
        return None
    root = product.request.root
    folders = dict.fromkeys(
        transform.located.project
        for transform in product.resolved.transforms
        if transform.spec.type == "dbt"
    )
    checks = [project(root, folder, product.options) for folder in folders]
    return Section("dbt projects", tuple(checks)) if checks else None


def project(root: Path, folder: str, options: str) -> Check:
    """One dbt project."""
    from floe_dbt.project import ProjectFileError, missing_packages, read_at, stale_packages

    try:
        found = read_at(root, folder)
    except ProjectFileError as problem:
        return Check("problem", f"{folder}/dbt_project.yml is broken: {problem}", "correct it")
    declared = len(found.declared_packages())
    if missing_packages(found):
        message = f"{folder} ({found.name}) declares {declared} packages; some are not installed"
        return Check("problem", message, f"floe deps{options}")
    if stale_packages(found):
        message = f"{folder} ({found.name}) declares packages that changed since they were fetched"
        return Check("warning", message, f"floe deps{options}")
    packages = f", {declared} packages installed" if declared else ""
    return Check("ok", f"{folder} ({found.name}){packages}")


def references(product: Product, *, is_connecting: bool) -> Section | None:
    """The secrets that the product refers to can be found; values are looked at and forgotten."""
    if product.resolved is None:
        return None
    resolved = product.resolved
    backends = secret_backends(resolved.platform.security)
    engine = set(resolved.secrets.values())
    used = (resolved.profiles, resolved.platform.observability)
    others = {ref for part in used for ref in _secrets_in(part)} - engine
    checks = [
        secret(ref, backends, is_needed=ref in engine, is_connecting=is_connecting)
        for ref in sorted(engine | others, key=secrets.describe)
    ]
    return Section("Secrets", tuple(checks)) if checks else None


def secret(
    ref: SecretRef, backends: Sequence[str], *, is_needed: bool, is_connecting: bool
) -> Check:
    """One secret; backends that need a network are asked only when that is wanted."""
    name = secrets.describe(ref)
    asked = [b for b in backends if is_connecting or b in secrets.DEFAULT_BACKENDS]
    left = [b for b in backends if b not in asked]
    status: Status = "problem" if is_needed else "warning"
    try:
        secrets.resolve({name: ref}, asked)
    except FloeError as problem:
        if not left or not isinstance(problem, SecretNotFoundError):
            return Check(status, problem.message, problem.help)
    else:
        return Check("ok", f"{name} is found")
    try:
        places = secrets.places(ref, left)
    except FloeError as problem:
        return Check(status, f"{name} is not on this machine, and {problem.message}", problem.help)
    message = f"{name} is not on this machine; a run asks {', '.join(left)} for it"
    return Check("warning", message, "floe doctor --connect   (asks them)", tuple(places))


def _secrets_in(value: Any) -> Iterator[SecretRef]:
    """Every reference in a profile."""
    if isinstance(value, SecretRef):
        yield value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _secrets_in(getattr(value, field))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item)
