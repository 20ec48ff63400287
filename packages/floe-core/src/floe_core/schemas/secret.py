"""References to secrets, and the credentials that are made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from floe_core.schemas.base import FloeModel, SecretPath


class SecretRef(FloeModel):
    """Names a secret; its value is looked up at run time in the process that executes."""

    secret_ref: SecretPath = Field(
        description="Name of the secret. `name/key` names one key of it."
    )
    key: str | None = Field(
        default=None, min_length=1, description="Key within the secret, when it holds several."
    )

    @model_validator(mode="after")
    def _names_one_key(self) -> SecretRef:
        if self.key is None and self.secret_ref.count("/") > 1:
            raise ValueError("a secret is named `name` or `name/key`, unless `key` names the key")
        return self

    @property
    def name(self) -> str:
        """The secret's name: all of it beside a `key`, else what is before `/key`."""
        return self.secret_ref if self.key else self.secret_ref.partition("/")[0]

    @property
    def entry(self) -> str | None:
        """The key within the secret, from `key` or from `name/key`."""
        return self.key or self.secret_ref.partition("/")[2] or None


class StaticCredentials(FloeModel):
    """A user name and a password, both held as secrets."""

    mode: Literal["static"] = Field(description="How to authenticate.")
    username: str | SecretRef = Field(description="User name, literal or as a secret.")
    password: SecretRef = Field(description="Secret that holds the password.")


class OAuth2Credentials(FloeModel):
    """The OAuth2 client credentials flow."""

    mode: Literal["oauth2"] = Field(description="How to authenticate.")
    client_id: str | SecretRef | None = Field(
        default=None,
        description="Client id, literal or as a secret. Absent when `client_secret` names a "
        "secret that holds both.",
    )
    client_secret: SecretRef = Field(description="Secret that holds the client secret.")
    scope: str | None = Field(default=None, description="OAuth2 scope to ask for.")


class IamRoleCredentials(FloeModel):
    """An AWS IAM role that the process assumes."""

    mode: Literal["iam_role"] = Field(description="How to authenticate.")
    role_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$", description="ARN of the role."
    )


class ServiceAccountCredentials(FloeModel):
    """The identity of the Kubernetes service account that the process runs as."""

    mode: Literal["service_account"] = Field(description="How to authenticate.")


class VendedCredentials(FloeModel):
    """Short-lived credentials that the catalog vends for each table."""

    mode: Literal["vended_credentials"] = Field(description="How to authenticate.")


Credentials = Annotated[
    StaticCredentials
    | OAuth2Credentials
    | IamRoleCredentials
    | ServiceAccountCredentials
    | VendedCredentials,
    Field(discriminator="mode"),
]
