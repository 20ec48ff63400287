"""The client that puts what is to be encrypted; without a server."""

from __future__ import annotations

import re
from contextlib import closing
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from urllib3 import HTTPResponse

from floe_iceberg.aws import s3_client

KEYS = {"s3.access-key-id": "canary-key", "s3.secret-access-key": "canary-secret-4711"}


@pytest.mark.parametrize(
    ("properties", "host", "path", "region"),
    [
        (
            {"s3.region": "eu-central-1"},
            "lake.s3.eu-central-1.amazonaws.com",
            "/orders",
            "eu-central-1",
        ),
        ({"s3.endpoint": "https://s3.acme.dev"}, "s3.acme.dev", "/lake/orders", "us-east-1"),
        (
            {
                "s3.endpoint": "https://s3.acme.dev",
                "s3.force-virtual-addressing": "true",
                "client.region": "eu-west-1",
            },
            "lake.s3.acme.dev",
            "/orders",
            "eu-west-1",
        ),
    ],
    ids=["aws", "endpoint", "endpoint with the bucket in the host"],
)
def test_a_put_goes_where_the_properties_say(
    properties: dict[str, str], host: str, path: str, region: str
) -> None:
    given = KEYS | {"s3.session-token": "canary-token-4712"} | properties
    sent: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 200, {}, HTTPResponse(BytesIO()))

    with closing(s3_client(given, "lake")) as client:
        client.meta.events.register("before-send.s3.PutObject", answer)
        client.put_object(Bucket="lake", Key="orders", Body=b"")
    [request] = sent
    url = urlsplit(request.url)
    assert (url.hostname, url.path) == (host, path)
    signature = str(request.headers["Authorization"])
    assert re.search(rf"Credential=canary-key/\d+/{region}/s3/aws4_request", signature)
    assert "canary-token-4712" in str(request.headers["X-Amz-Security-Token"])


def test_timeouts_are_those_of_the_properties() -> None:
    properties = {
        **KEYS,
        "s3.region": "eu-central-1",
        "s3.connect-timeout": "2.5",
        "s3.request-timeout": "7",
    }
    with closing(s3_client(properties, "lake")) as client:
        config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2.5, 7.0)
