"""PyIceberg's files on this machine, without PyArrow, whose import costs more than a commit."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.fsspec import FsspecFileIO

if TYPE_CHECKING:
    from pyiceberg.io.pyarrow import PyArrowFileIO


class LocalFileIO(FileIO):
    """Reads and writes local files by itself, and leaves those elsewhere to PyArrow."""

    @cached_property
    def _local(self) -> FsspecFileIO:
        return FsspecFileIO(self.properties)

    @cached_property
    def arrow(self) -> PyArrowFileIO:
        """The same by PyArrow."""
        from pyiceberg.io.pyarrow import PyArrowFileIO

        return PyArrowFileIO(self.properties)

    def _of(self, location: str) -> FileIO:
        is_local = location.startswith("file:") or "://" not in location
        return self._local if is_local else self.arrow

    def new_input(self, location: str) -> InputFile:
        """Look at a file."""
        return self._of(location).new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """Look at a file that is to be written."""
        return self._of(location).new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file."""
        name = location if isinstance(location, str) else location.location
        self._of(name).delete(name)
