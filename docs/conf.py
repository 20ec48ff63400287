"""Settings of Sphinx for this site; `make docs` builds it."""

from floe_core.version import __version__

project = "floe"
author = "The floe authors"
copyright = "The floe authors, Apache-2.0"
release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True  # with -W, a link that leads nowhere fails the build

myst_heading_anchors = 3  # `page.md#a-heading` works here and where Markdown is read as it is

html_theme = "furo"
html_title = "floe"
html_copy_source = False
html_extra_path = ["extra"]  # schemas of facets, at the URLs that events name
