"""PyIceberg's files on S3, behind a certificate authority of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyarrow.fs import S3FileSystem  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


class TrustingFileIO(PyArrowFileIO):
    """Trusts the authority of `ssl.cabundle` for S3, as PyIceberg does for the catalog alone."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        plain = super()._initialize_s3_fs(netloc)
        _, [options] = plain.__reduce__()
        return S3FileSystem(**{**options, "tls_ca_file_path": self.properties["ssl"]["cabundle"]})
