"""PyIceberg's files on S3, as a profile asks for them where PyArrow cannot.

PyArrow has no option for an authority of one's own from PyIceberg's properties, and none for
encryption with a key of KMS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pyarrow.fs import S3FileSystem  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from floe_iceberg.aws import bundle_of, kms_key_of, s3_client

if TYPE_CHECKING:
    from types import TracebackType

    from pyarrow.fs import FileSystem
    from pyiceberg.io import OutputStream
    from pyiceberg.typedef import Properties

_S3 = ("s3", "s3a", "s3n")


class S3FileIO(PyArrowFileIO):
    """Trusts `ssl.cabundle` for S3, and encrypts what it writes with `s3.sse.key`.

    PyIceberg takes `ssl.cabundle` for the catalog alone, and PyArrow asks S3 for no encryption. An
    object that is encrypted is gathered in memory, and put when it is closed: metadata and
    manifests are small, and DuckDB writes the data.
    """

    def new_output(self, location: str) -> PyArrowFile:
        """Get the file to write at a location."""
        file = super().new_output(location)
        scheme, _, path = self.parse_location(location, self.properties)
        key = kms_key_of(self.properties)
        if scheme not in _S3 or key is None:
            return file
        return _EncryptedFile(file, path, self.properties, key)

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        plain = super()._initialize_s3_fs(netloc)
        bundle = bundle_of(self.properties)
        if bundle is None:
            return plain
        _, [options] = plain.__reduce__()
        return S3FileSystem(**{**options, "tls_ca_file_path": bundle})


class _EncryptedFile(PyArrowFile):
    def __init__(self, plain: PyArrowFile, path: str, properties: Properties, key: str) -> None:
        super().__init__(plain.location, path, plain._filesystem)
        self._properties = properties
        self._key = key

    def create(self, overwrite: bool = False) -> OutputStream:
        if not overwrite and self.exists():
            raise self._there_already()
        return _Upload(lambda body: self._put(body, overwrite=overwrite))

    def _put(self, body: bytes, *, overwrite: bool) -> None:
        from botocore.exceptions import ClientError

        bucket, _, name = self._path.partition("/")
        # Somebody may have written the object since `create` looked.
        condition: dict[str, Any] = {} if overwrite else {"IfNoneMatch": "*"}
        with closing(s3_client(self._properties, bucket)) as client:
            try:
                client.put_object(
                    Bucket=bucket,
                    Key=name,
                    Body=body,
                    ServerSideEncryption="aws:kms",
                    SSEKMSKeyId=self._key,
                    **condition,
                )
            except ClientError as problem:
                if problem.response["Error"]["Code"] == "PreconditionFailed":
                    raise self._there_already() from None
                raise

    def _there_already(self) -> FileExistsError:
        return FileExistsError(f"Cannot create file, already exists: {self.location}")


class _Upload(BytesIO):
    """Puts what was written when it is closed, and nothing when its block fails."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put

    def close(self) -> None:
        if self.closed:
            return
        body = self.getvalue()
        super().close()
        self._put(body)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            super().close()
        self.close()

    def __del__(self) -> None:
        """Keep Python from closing, and so putting, what somebody dropped half written."""
