"""A headless Chromium for tests, from apt."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from floe_testing import apt

if TYPE_CHECKING:
    from playwright.sync_api import Page

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def install() -> str:
    """Find Chromium, installing the package as root where there is none.

    Raises:
        FileNotFoundError: if it is neither there nor can be installed.
    """
    found = shutil.which("chromium")
    if found is None and apt.install("chromium"):
        found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError("chromium; install the package of that name")
    return found


@contextlib.contextmanager
def page() -> Iterator[Page]:
    """Open an empty page; the browser ends with it."""
    from playwright.sync_api import sync_playwright

    program = install()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield browser.new_page(viewport={"width": 1600, "height": 1000})
        finally:
            browser.close()
