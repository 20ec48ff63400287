"""One sentence for what PyIceberg, an HTTP client, AWS, Arrow, DuckDB or a database raises.

Exceptions are told by the names of their classes, so that nothing is imported that is not in use.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from floe_core.errors import FloeError
from floe_core.masking import mask_values, names_secret
from floe_iceberg.aws import kms_key_of
from floe_iceberg.errors import (
    CatalogRefusedError,
    CatalogSetupError,
    CatalogUnavailableError,
    TableGoneError,
    WriteError,
)
from floe_iceberg.profile import CLIENT_SECRET, DELEGATION

_EXTRAS = {
    "boto3": "floe-iceberg[s3]",
    "botocore": "floe-iceberg[s3]",
    "thrift": "floe-iceberg[hive]",
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
}
_WRONG_KEYS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_READS = ("Get", "Head", "List")


@dataclass(frozen=True)
class _Case:
    """The catalog that something went wrong with."""

    profile: str
    properties: Mapping[str, Any]

    @property
    def catalog(self) -> str:
        return f"the catalog `{self.profile}`"

    @property
    def storage(self) -> str:
        return f"the storage of catalog `{self.profile}`"

    @property
    def uri(self) -> str:
        return _shown(str(self.properties.get("uri", "")))

    @property
    def type(self) -> str:
        return str(self.properties.get("type", ""))

    @property
    def has_credentials(self) -> bool:
        signs_in = ("credential", CLIENT_SECRET, "token", "auth.type")
        return any(key in self.properties for key in signs_in)

    @property
    def has_kms_key(self) -> bool:
        return kms_key_of(self.properties) is not None

    def field(self, name: str) -> str:
        return f"`{name}` of `catalogs.{self.profile}`"


def explain(
    problem: BaseException, profile_name: str, properties: Mapping[str, Any]
) -> FloeError | None:
    """What an exception means to whoever wrote the profile; None where it is not known.

    Args:
        problem: The exception; what caused it is looked at too.
        profile_name: Name of the catalog in platform.yaml.
        properties: What it was opened with; no secret of them is in the answer.
    """
    case = _Case(profile_name, properties)
    for link in _chain(problem):
        names = frozenset(f"{kind.__module__}.{kind.__name__}" for kind in type(link).__mro__)
        for told in _TELLERS:
            error = told(link, names, case)
            if error is not None:
                hidden = list(_secrets(properties))
                return type(error)(
                    mask_values(error.message, hidden),
                    mask_values(error.help, hidden) if error.help else None,
                )
    return None


def _chain(problem: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = problem
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _secrets(properties: Mapping[str, Any]) -> Iterator[str]:
    for key, value in properties.items():
        is_header = key.startswith("header.") and key != DELEGATION
        if isinstance(value, str) and value and (names_secret(key) or is_header):
            yield value
            if key == "credential":
                yield value.partition(":")[2]
    password = _password(str(properties.get("uri", "")))
    if password:
        yield password


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _shown(url: str) -> str:
    """A URL without user, password and query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that is no URL"
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else url


def _disk(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    text = str(link)
    is_full = isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT)
    said = ("No space left on device", "database or disk is full", "Disk quota exceeded")
    if not is_full and not any(words in text for words in said):
        return None
    found = re.search(r"file \"([^\"]+)\"|'(/[^']+)'", text)
    where = f", while {found[1] or found[2]} was written" if found else ""
    return WriteError(
        f"the disk is full{where}; the tables of catalog `{case.profile}` are as they were",
        "free some space and run it again",
    )


def _package(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    missing: str | None = None
    if isinstance(link, ModuleNotFoundError):
        missing = _EXTRAS.get((link.name or "").partition(".")[0])
    elif "pyiceberg.exceptions.NotInstalledError" in names:
        modules = [cause.name for cause in _chain(link) if isinstance(cause, ModuleNotFoundError)]
        found = {_EXTRAS[module] for module in modules if module in _EXTRAS}
        missing = next(iter(found), None)
    elif "sqlalchemy.exc.NoSuchModuleError" in names:
        scheme = urlsplit(str(case.properties.get("uri", ""))).scheme
        return CatalogSetupError(
            f"{case.catalog} is in a database of the kind `{scheme}`, which SQLAlchemy does not "
            "know",
            "install its dialect, or write `postgresql+psycopg://HOST/DATABASE`",
        )
    if missing is None:
        return None
    return CatalogSetupError(
        f"{case.catalog} is of type `{case.type}`, which needs a package that is not installed",
        f"pip install '{missing}'",
    )


def _properties(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What PyIceberg does not find in the properties, or not understand."""
    text = str(link)
    if isinstance(link, ValueError) and "is not a valid CatalogType" in text:
        message = f"{case.catalog} is of a type that PyIceberg does not know: `{case.type}`"
        return CatalogSetupError(message, "use `sql`, `rest`, `glue` or `hive`")
    if isinstance(link, ValueError | KeyError) and "uri" in text.lower() and not case.uri:
        return CatalogSetupError(f"{case.catalog} has no `uri`", f"add {case.field('uri')}")
    return None


def _connection(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What the HTTP clients of PyIceberg and of AWS raise before there is an answer."""
    if names & {"requests.exceptions.InvalidURL", "requests.exceptions.InvalidSchema"} or (
        "requests.exceptions.MissingSchema" in names
    ):
        message = f"{case.catalog} has a `uri` that is not a URL: {case.uri}"
        return CatalogSetupError(message, f"write `https://HOST/...` in {case.field('uri')}")
    place = case.uri
    if "requests.exceptions.RequestException" in names:
        request = getattr(link, "request", None)
        url = getattr(request, "url", None)
        if url and urlsplit(url).netloc != urlsplit(place).netloc:
            place = _shown(url)
    elif names & {"botocore.exceptions.HTTPClientError", "botocore.exceptions.ConnectionError"}:
        place = _shown(str(getattr(link, "kwargs", {}).get("endpoint_url", "AWS")))
    elif "thrift.transport.TTransport.TTransportException" not in names:
        return None
    reason = _why(link, names, place)
    if reason is None:
        return None
    help = f"check {case.field('uri')}, and that the server runs"
    if "certificate" in reason:
        help = (
            f"name the file of its authority in {case.field('properties')}: "
            "`ssl.cabundle: /path/to/ca.pem`"
        )
    elif case.type == "glue":
        help = "check the network, the region and `glue.endpoint`"
    return CatalogUnavailableError(f"{case.catalog} cannot be reached: {reason}", help)


def _why(link: BaseException, names: frozenset[str], place: str) -> str | None:
    text = " ".join(str(part) for part in _chain(link))
    if "SSLError" in " ".join(names) or "CERTIFICATE_VERIFY_FAILED" in text:
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            return f"the certificate of {place} is not trusted"
        return f"{place} does not speak TLS"
    if re.search(r"NameResolution|Name or service not known|getaddrinfo|nodename nor", text):
        return f"there is no host `{urlsplit(place).hostname or place}`"
    if "Connection refused" in text or "Could not connect" in text:
        return f"nothing listens at {place}"
    if any("Timeout" in name for name in names) or "timed out" in text:
        return f"{place} does not answer in time"
    if "requests.exceptions.ConnectionError" in names or "botocore" in " ".join(names):
        return f"the connection to {place} broke"
    return None


_NO_CATALOG = re.compile(r"RESTError (\d+): (?:Could not decode json|Received unexpected JSON)")


def _answer(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What an Iceberg REST catalog answers."""
    if "pyiceberg.exceptions.CommitStateUnknownException" in names:
        return None
    text = _sentence(link)
    not_catalog = _NO_CATALOG.search(str(link))
    is_config = "pydantic_core._pydantic_core.ValidationError" in names and "Response" in str(
        getattr(link, "title", "")
    )
    if not_catalog or is_config:
        status = f" (HTTP {not_catalog[1]})" if not_catalog else ""
        return CatalogSetupError(
            f"what answers at {case.uri} is not an Iceberg REST catalog{status}",
            f"check {case.field('uri')}; Polaris's ends in `/api/catalog`, Nessie's in `/iceberg`",
        )
    for name in ("OAuthError", "UnauthorizedError", "AuthorizationExpiredError"):
        if f"pyiceberg.exceptions.{name}" in names:
            return _refused(text, case)
    is_forbidden = str(link).startswith("AccessCheckException: ")  # Nessie's, with status 500
    if is_forbidden or "pyiceberg.exceptions.ForbiddenError" in names:
        return CatalogRefusedError(
            f"{case.catalog} does not allow this: {text}",
            f"grant the right to whom {case.field('credentials')} names",
        )
    for name in ("ServerError", "ServiceUnavailableError", "TooManyRequestsError"):
        if f"pyiceberg.exceptions.{name}" in names:
            help = "run it again; the log of the server says more"
            return CatalogUnavailableError(f"{case.catalog} fails: {text}", help)
    if names & {"pyiceberg.exceptions.RESTError", "pyiceberg.exceptions.NoSuchNamespaceError"}:
        return CatalogSetupError(
            f"{case.catalog} answers: {text}",
            f"check {case.field('uri')} and `warehouse`",
        )
    return None


def _refused(text: str, case: _Case) -> FloeError:
    if case.has_credentials:
        return CatalogRefusedError(
            f"{case.catalog} refuses the credentials: {text}",
            f"check the secrets that {case.field('credentials')} names",
        )
    return CatalogRefusedError(
        f"{case.catalog} answers nobody who has not signed in: {text}",
        f"add `credentials` to `catalogs.{case.profile}`",
    )


def _sentence(link: BaseException) -> str:
    """What a server says, in one line, without a doubled name of the error and a full stop."""
    text = " ".join(str(link).split())
    return re.sub(r"^\w+(?:Error|Exception): ", "", text).rstrip(".")[:500]


def _aws(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What AWS's own client raises, for Glue and for roles that are assumed."""
    if names & {
        "botocore.exceptions.NoCredentialsError",
        "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.TokenRetrievalError",
    }:
        return CatalogRefusedError(
            f"{case.catalog} needs AWS keys, and none were found",
            f"add {case.field('credentials')}, or sign in: AWS_ACCESS_KEY_ID, AWS_PROFILE, or the "
            "role of the machine",
        )
    if "botocore.exceptions.NoRegionError" in names:
        return CatalogSetupError(
            f"{case.catalog} does not say in which AWS region it is",
            f"add `glue.region` to {case.field('properties')}, or `region` to the storage",
        )
    if "botocore.exceptions.ClientError" not in names:
        return None
    error = getattr(link, "response", {}).get("Error", {})
    code, said = str(error.get("Code")), str(error.get("Message", "")).rstrip(".")
    operation = str(getattr(link, "operation_name", ""))
    if operation == "PutObject":
        return _put(code, said, error.get("BucketName"), case)
    if operation == "AssumeRole":
        return CatalogRefusedError(
            f"the role of catalog `{case.profile}` cannot be assumed: {said} ({code})",
            "check `role_arn`, and that the role trusts whoever runs this",
        )
    if code in _WRONG_KEYS:
        return CatalogRefusedError(
            f"{case.catalog} refuses the AWS keys: {said} ({code})",
            f"check {case.field('credentials')}",
        )
    if "AccessDenied" in code or "NotAuthorized" in code or code == "403":
        return CatalogRefusedError(
            f"{case.catalog} does not allow {operation}: {said}",
            f"grant the right to whom {case.field('credentials')} names",
        )
    if code in {"ThrottlingException", "InternalServiceException", "ServiceUnavailable"}:
        return CatalogUnavailableError(f"{case.catalog} fails: {said} ({code})", "run it again")
    return None


def _put(code: str, said: str, bucket: str | None, case: _Case) -> FloeError:
    """What S3 answers to metadata and manifests that are to be encrypted."""
    if code == "NoSuchBucket" and bucket:
        return _no_bucket(bucket, case)
    if code in _WRONG_KEYS:
        return _storage_refuses(_words(code), case)
    if code.startswith("KMS."):
        return CatalogSetupError(
            f"{case.storage} cannot encrypt with the KMS key: {said} ({code})",
            f"check `s3.sse.key` in {case.field('properties')}",
        )
    if code in {"AccessDenied", "403"}:
        return _forbidden("metadata of a table", case, is_read=False)
    return CatalogUnavailableError(f"{case.storage} fails: {said} ({code})", "run it again")


_ARROW = re.compile(
    r"(?:key '(?P<key>[^']*)' in )?bucket '(?P<bucket>[^']*)'.*?"
    r": AWS Error (?P<code>[A-Z_]+|\[[^]]+\])"
    r"(?: \(HTTP status (?P<status>\d+)\))? during (?P<operation>\w+) operation",
    re.DOTALL,
)
_MISSING = re.compile(
    r"(?:Cannot open file, does not exist: |Path does not exist '|Failed to open local file ')"
    r"(?P<path>[^\s']+)"
)


def _arrow(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What PyArrow says of files on S3."""
    text = str(link)
    found = _ARROW.search(text) if isinstance(link, OSError) else None
    if found is None:
        return None
    code = found["code"]
    path = f"s3://{found['bucket']}/{found['key'] or ''}"
    if code == "NETWORK_CONNECTION":
        return _storage_unreachable(text, case)
    if code == "NO_SUCH_BUCKET":
        return _no_bucket(found["bucket"], case)
    if code in {"INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN"}:
        return _storage_refuses(code.replace("_", " ").lower(), case)
    if code == "ACCESS_DENIED" or found["status"] == "403":
        return _forbidden(path, case, is_read=found["operation"].startswith(_READS))
    if found["status"] in {"301", "400"}:
        return _misplaced(path, case)
    return None


_URL = re.compile(r"((?:s3|https?)://[^\s'\"]+?)['\":,]*(?=\s|$)")
_NO_ANSWER = re.compile(
    r"Could not (?:resolve|connect|establish)|Connection (?:refused|error)|timed out|timeout",
    re.IGNORECASE,
)
_CODE = re.compile(r"^(\w+): ", re.MULTILINE)


def _duckdb(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What DuckDB says of files on S3."""
    if not names & {"_duckdb.HTTPException", "_duckdb.IOException"}:
        return None
    text = str(link)
    local = re.search(r'No files found that match the pattern "([^"]+)"', text)
    warehouse = str(case.properties.get("warehouse", "")).removeprefix("file://")
    if local and warehouse and local[1].startswith(warehouse):
        return _gone(local[1], case)
    url = _URL.search(text)
    if url is None or not _is_storage(url[1], case):
        return None
    if _NO_ANSWER.search(text):
        return _storage_unreachable(text, case)
    status = getattr(link, "status_code", None) or _status(text)
    codes = set(_CODE.findall(text))
    if "NoSuchBucket" in codes:
        return _no_bucket(_path(url[1], case)[len("s3://") :].partition("/")[0], case)
    if codes & _WRONG_KEYS:
        [code] = list(codes & _WRONG_KEYS)[:1]
        return _storage_refuses(_words(code), case)
    if status in (401, 403):
        return _forbidden(_path(url[1], case), case, is_read="read" in text.partition(":")[2][:40])
    if status == 404:
        message = f"{_path(url[1], case)} is not in {case.storage}"
        return TableGoneError(message, "go back to an earlier snapshot, or build the table anew")
    if status in (301, 400):
        return _misplaced(_path(url[1], case), case)
    if status is not None and status >= 500:
        return CatalogUnavailableError(f"{case.storage} fails (HTTP {status})", "run it again")
    return None


def _status(text: str) -> int | None:
    found = re.search(r"HTTP (?:code )?(\d{3})", text)
    return int(found[1]) if found else None


def _path(url: str, case: _Case) -> str:
    """A URL of the storage as Iceberg calls it; DuckDB shows either."""
    endpoint = str(case.properties.get("s3.endpoint") or "")
    path = url.partition("?")[0]
    if endpoint and path.startswith(f"{endpoint.rstrip('/')}/"):
        return "s3:/" + path[len(endpoint.rstrip("/")) :]
    return path


def _is_storage(url: str, case: _Case) -> bool:
    """Whether a URL is one of the storage, not one that a query reads by itself."""
    host = urlsplit(url).hostname or ""
    return _path(url, case).startswith("s3://") or host.endswith(".amazonaws.com")


def _storage_unreachable(text: str, case: _Case) -> FloeError:
    endpoint = _shown(str(case.properties.get("s3.endpoint") or "")) or "AWS"
    host = re.search(r"resolve host(?:name)?: ([\w.-]+)", text)
    reason = f"nothing answers at {endpoint}"
    if host:
        reason = f"there is no host `{host[1]}`"
    return CatalogUnavailableError(
        f"{case.storage} cannot be reached: {reason}",
        "check `endpoint` and `path_style` of the storage in platform.yaml, and that the server "
        "runs",
    )


def _no_bucket(bucket: str, case: _Case) -> FloeError:
    return CatalogSetupError(
        f"{case.storage} has no bucket `{bucket}`",
        "create it, or correct `bucket` of the storage in platform.yaml",
    )


def _storage_refuses(why: str, case: _Case) -> FloeError:
    return CatalogRefusedError(
        f"{case.storage} refuses the keys: {why}",
        "check the secrets that `credentials` of the storage names in platform.yaml",
    )


def _misplaced(path: str, case: _Case) -> FloeError:
    message = f"{case.storage} does not answer for {path}: the bucket may be in another region"
    help = "check `region` of the storage in platform.yaml"
    if case.has_kms_key:
        message += ", or S3 has no such KMS key"
        help += f", and `s3.sse.key` in {case.field('properties')}"
    return CatalogSetupError(message, help)


def _forbidden(path: str, case: _Case, *, is_read: bool) -> FloeError:
    help = "check `credentials` of the storage in platform.yaml, and what they may do"
    if case.has_kms_key:
        help += "; the KMS key wants `kms:GenerateDataKey` and `kms:Decrypt`"
    return CatalogRefusedError(
        f"{case.storage} does not allow {'reading' if is_read else 'writing'} {path}", help
    )


def _words(code: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", code).lower()


def _database(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """What the database of a SQL catalog says."""
    if "sqlalchemy.exc.ArgumentError" in names:
        message = f"{case.catalog} has a `uri` that is not the URL of a database"
        return CatalogSetupError(message, "write `postgresql+psycopg://HOST/DATABASE`")
    if "sqlalchemy.exc.DBAPIError" not in names:
        return None
    text = " ".join(str(getattr(link, "orig", link)).split()).rstrip(".")
    file = case.uri.partition(":///")[2] if case.uri.startswith("sqlite") else None
    if "not a database" in text or "malformed" in text:
        return CatalogSetupError(
            f"{case.catalog} is damaged: {file or case.uri} is not a database any more",
            "restore the file from a backup; the data files beside it are untouched",
        )
    if file is not None and re.search(r"unable to open|readonly|read-only", text):
        message = f"{case.catalog} cannot write to {file}: {text}"
        return CatalogSetupError(message, "check who owns the file and its folder")
    if "locked" in text:
        message = f"{case.catalog} is in use: somebody has locked {file or case.uri}"
        return CatalogUnavailableError(message, "run it again when the other run is done")
    if re.search(r"authentication failed|Access denied|no password", text, re.IGNORECASE):
        return CatalogRefusedError(
            f"{case.catalog} refuses the credentials: {text}",
            f"check the secrets that {case.field('credentials')} names",
        )
    if "sqlalchemy.exc.OperationalError" in names:
        message = f"{case.catalog} cannot be reached: {text}"
        return CatalogUnavailableError(message, f"check {case.field('uri')}")
    return None


_METADATA = frozenset(
    {"pyiceberg.exceptions.ValidationError", "pydantic_core._pydantic_core.ValidationError"}
)


def _table(link: BaseException, names: frozenset[str], case: _Case) -> FloeError | None:
    """Tables that are not there, or whose metadata is gone or broken."""
    if "pyiceberg.exceptions.NoSuchTableError" in names:
        message = f"{case.catalog} has no such table: {_sentence(link)}"
        return TableGoneError(message, "build it first: `floe run`")
    if isinstance(link, FileNotFoundError):
        path = _missing(link)
        return _gone(path, case) if path is not None else None
    reason = unreadable(link)
    if reason is not None:
        return TableGoneError(
            f"the metadata of a table of catalog `{case.profile}` cannot be read: {reason}",
            RESTORE,
        )
    return None


def unreadable(problem: BaseException) -> str | None:
    """Why metadata or a manifest cannot be read; None where something else is wrong."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(problem).__mro__}
    if names & _METADATA:
        found = next((link for link in _chain(problem) if hasattr(link, "errors")), None)
        said = [str(error["msg"]) for error in found.errors()] if found is not None else []
        return said[0].rstrip(".") if said else "it is not what Iceberg's specification says"
    if isinstance(problem, UnicodeDecodeError):
        return "it is not text"
    if isinstance(problem, EOFError):
        return "a manifest is cut off"
    if isinstance(problem, FileNotFoundError):
        path = _missing(problem)
        return f"there is no {path}" if path is not None else None
    return None


def _missing(problem: FileNotFoundError) -> str | None:
    """The file of a table that is not there; None where it is a file of something else."""
    path = str(problem.filename or "")
    if path.endswith((".metadata.json", ".avro")):
        return path
    found = _MISSING.search(str(problem))
    return found["path"] if found else None


RESTORE = "restore it from a backup, or register an earlier metadata file of the table"


def _gone(path: str, case: _Case) -> FloeError:
    return TableGoneError(f"{case.catalog} names a file that is not there: {path}", RESTORE)


_Teller = Callable[[BaseException, frozenset[str], _Case], FloeError | None]
_TELLERS: tuple[_Teller, ...] = (
    _disk,
    _package,
    _properties,
    _connection,
    _answer,
    _aws,
    _arrow,
    _duckdb,
    _database,
    _table,
)
