"""Secrets of AWS Secrets Manager."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from floe_core.errors import (
    FloeError,
    SecretBackendError,
    SecretUnreadableError,
    ServiceUnavailableError,
)
from floe_core.secret_backends.network import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    Content,
    NetworkBackend,
    text_or_bytes,
)

if TYPE_CHECKING:
    from floe_core.plugins import SecretBackend

_SERVER_ERROR = 500
_BUSY = {"ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException"}
_NOT_ALLOWED = {"AccessDeniedException", "AccessDenied", "DecryptionFailure"}
_NOT_ACCEPTED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


class AwsSecretsManager(NetworkBackend):
    """Secrets whose id is the name; keys are those of a JSON object, as the console makes them.

    Region, credentials and endpoint are found as by every AWS SDK.
    """

    name = "aws_secrets_manager"
    library = "boto3"

    def place(self, name: str) -> str:
        """The secret, with its region where a variable gives it."""
        region = _region()
        return f"AWS secret {name}" + (f" in {region}" if region else "")

    def read(self, name: str) -> Content | None:
        """Get the current version of the secret."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        try:
            session = boto3.session.Session(region_name=_region())
            client = session.client("secretsmanager", config=config)
            try:
                answer: Mapping[str, Any] = client.get_secret_value(SecretId=name)
            finally:
                client.close()
        except ClientError as problem:
            explained = self._refusal(name, problem.response)
            if explained is None:
                return None
            raise explained from None
        except (BotoCoreError, ValueError) as problem:
            raise _broken(problem) from None
        if "SecretBinary" in answer:
            return text_or_bytes(answer["SecretBinary"])
        return str(answer["SecretString"])

    def _refusal(self, name: str, response: Mapping[str, Any]) -> FloeError | None:
        """What an error of AWS means; its text is not shown, as it may quote the request."""
        code = response.get("Error", {}).get("Code", "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        place = self.place(name)
        if code == "ResourceNotFoundException":
            return None
        if code == "InvalidRequestException":
            return SecretUnreadableError(
                f"{place} is marked for deletion",
                help=f"Restore it: `aws secretsmanager restore-secret --secret-id {name}`.",
            )
        if code in _NOT_ALLOWED:
            return SecretBackendError(
                f"AWS does not let this process read {place} ({code})",
                help="Allow `secretsmanager:GetSecretValue` on the secret to the identity of the "
                "process, and `kms:Decrypt` on its key if it is not AWS's own.",
            )
        if code in _NOT_ACCEPTED:
            return SecretBackendError(
                f"AWS Secrets Manager does not accept the AWS credentials of this process ({code})",
                help="Renew them, and look at them with `aws sts get-caller-identity`.",
            )
        if status >= _SERVER_ERROR or code in _BUSY:
            return ServiceUnavailableError(
                f"AWS Secrets Manager cannot answer now ({code})", help="Try again later."
            )
        return SecretBackendError(f"AWS Secrets Manager refuses to read {place} ({code})")


def _region() -> str | None:
    """Boto knows the one variable, the other SDKs and AWS's own services the other."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def _broken(problem: Exception) -> FloeError:
    """What an error means that boto raises before there is an answer."""
    from botocore import exceptions

    kind = type(problem).__name__
    if isinstance(problem, exceptions.NoRegionError):
        return SecretBackendError(
            "the secret backend `aws_secrets_manager` does not know its region",
            help="Set AWS_REGION.",
        )
    if isinstance(problem, exceptions.HTTPClientError | exceptions.ConnectionError):
        return ServiceUnavailableError(
            f"AWS Secrets Manager does not answer ({kind})",
            help="Look at the network, at AWS_REGION and at AWS_ENDPOINT_URL.",
        )
    return SecretBackendError(
        f"the secret backend `aws_secrets_manager` has no valid AWS settings ({kind})",
        help="It finds region and credentials as every AWS SDK does: in AWS_REGION, "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the pod.",
    )


if TYPE_CHECKING:
    _: type[SecretBackend] = AwsSecretsManager
