"""What IAM is asked when a request arrives: from a request's bytes to actions on resources.

S3: the actions are those of "Required permissions for Amazon S3 API operations". CopyObject reads its source
(GetObject) and writes its destination (PutObject); GetObjectTagging and PutObjectTagging come in only for a source
that has tags, and nothing here tags an object. A request that is not modelled raises `UnknownCall`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree as ET

from moto.core import DEFAULT_ACCOUNT_ID
from permissions.policy import Request

from headrace_cli.local.aws_endpoint import REGION
from headrace_cli.local.aws_server import Exchange

CREDENTIAL_SCOPE = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request")
NOT_FOUND = 404
TLS = ("aws:SecureTransport", ("true",))
"""Every client of AWS's own endpoints comes over TLS; the local server's do not, which is no finding."""
KEY_ARN = f"arn:aws:kms:{REGION}:{DEFAULT_ACCOUNT_ID}:key/customer"
KEYLESS = ("s3:ListBucket", "s3:DeleteObject", "glue:")
"""Actions that read and write no content of the deployment's stores, by how they begin."""
OTHER_PERMISSIONS = ("x-amz-acl", "x-amz-grant-", "x-amz-tagging", "x-amz-object-lock-", "x-amz-bypass-")
"""Headers that make S3 ask for more than the action itself."""


MULTIPART = {"uploads", "uploadId", "partNumber"}
"""What is said of the parts of an object: beginning, writing and joining them is putting it."""


class UnknownCall(Exception):
    """A request whose permissions are not modelled."""


class Caller(NamedTuple):
    """Who signed a request, for which service."""

    access_key: str
    service: str


def caller(exchange: Exchange) -> Caller:
    """Who asks.

    Raises:
        UnknownCall: the request is not signed.
    """
    found = CREDENTIAL_SCOPE.search(exchange.headers.get("authorization", ""))
    if found is None:
        raise UnknownCall(f"unsigned: {exchange.method} {exchange.path}")
    return Caller(found[1], found[2])


def needed(exchange: Exchange) -> list[Request]:
    """Everything that IAM must allow for the request to be answered as it was.

    Raises:
        UnknownCall: the request is not modelled.
    """
    service = caller(exchange).service
    if service == "dynamodb":
        return list(_dynamodb(exchange))
    if service == "s3":
        return list(_s3(exchange))
    if service == "glue":
        return list(_glue(exchange))
    if service == "sns":
        return list(_sns(exchange))
    raise UnknownCall(f"service {service}: {exchange.method} {exchange.path}")


def of_the_key(request: Request) -> list[Request]:
    """What KMS is asked in the caller's name when a customer's key encrypts the bucket, the table and the topic.

    S3 decrypts what it reads and makes a data key for what it writes, also with a bucket key; listing and deleting need
    no key. DynamoDB asks to decrypt its table's key. Who publishes to a topic makes a data key and decrypts it.
    """
    service, operation = request.action.split(":")
    actions = {"PutObject": ["kms:GenerateDataKey"], "Publish": ["kms:Decrypt", "kms:GenerateDataKey"]}
    context = (("kms:ViaService", (f"{service}.{REGION}.amazonaws.com",)), TLS)
    return [Request(action, KEY_ARN, context) for action in actions.get(operation, ["kms:Decrypt"])]


def table_arn(table: str) -> str:
    """The ARN of a table of the local server, as in the account that the templates are resolved for."""
    return f"arn:aws:dynamodb:{REGION}:{DEFAULT_ACCOUNT_ID}:table/{table}"


def bucket_arn(bucket: str) -> str:
    """The ARN of a bucket; S3's have neither region nor account."""
    return f"arn:aws:s3:::{bucket}"


def _dynamodb(exchange: Exchange) -> Iterator[Request]:
    operation = exchange.headers["x-amz-target"].partition(".")[2]
    body = json.loads(exchange.body)
    if operation == "BatchGetItem":
        for table, wanted in body["RequestItems"].items():
            yield _on_table(operation, table, wanted["Keys"])
    elif operation == "PutItem":
        yield _on_table(operation, body["TableName"], [body["Item"]])
    elif operation == "UpdateItem":
        yield _on_table(operation, body["TableName"], [body["Key"]])
    elif operation == "Scan" and "IndexName" not in body:
        yield _on_table(operation, body["TableName"], [])
    else:
        raise UnknownCall(f"dynamodb: {operation}")


def _on_table(operation: str, table: str, keys: list[dict[str, Any]]) -> Request:
    leading = tuple(sorted({key["pk"]["S"] for key in keys}))
    context = (("dynamodb:LeadingKeys", leading), TLS) if leading else (TLS,)
    return Request(f"dynamodb:{operation}", table_arn(table), context)


def _s3(exchange: Exchange) -> Iterator[Request]:
    bucket, _, key = exchange.path.removeprefix("/").partition("/")
    query = parse_qs(exchange.query, keep_blank_values=True)
    more = [name for name in exchange.headers if name.startswith(OTHER_PERMISSIONS)]
    if more or (key and not query.keys() <= MULTIPART):
        raise UnknownCall(f"s3: {exchange.method} {exchange.path} with {more or list(query)}")
    if key:
        yield from _s3_object(exchange, bucket, key)
    elif exchange.method == "GET" and query.get("list-type") == ["2"]:
        prefix = query.get("prefix")
        context = (("s3:prefix", tuple(prefix)), TLS) if prefix else (TLS,)
        yield Request("s3:ListBucket", bucket_arn(bucket), context)
    elif exchange.method == "POST" and "delete" in query:
        for element in ET.fromstring(exchange.body).iterfind(".//{*}Key"):
            yield _on_object("DeleteObject", bucket, element.text or "")
    else:
        raise UnknownCall(f"s3: {exchange.method} {exchange.path}?{exchange.query}")


PYICEBERG_OPERATIONS = {
    "GetDatabase": None,
    "CreateTable": lambda body: body["TableInput"]["Name"],
    "UpdateTable": lambda body: body["TableInput"]["Name"],
    "GetTable": lambda body: body["Name"],
    "GetTables": lambda _body: "*",
}
"""What pyiceberg asks Glue for, and which table that is about, if any; listing asks for all of the database's."""
PARTITION_OPERATIONS = dict.fromkeys(
    ("BatchCreatePartition", "BatchDeletePartition", "BatchUpdatePartition", "GetPartitions"),
    lambda body: body["TableName"],
)
GLUE_TABLE_OF = {**PYICEBERG_OPERATIONS, **PARTITION_OPERATIONS}


def _glue(exchange: Exchange) -> Iterator[Request]:
    """Each operation on a table asks for the catalog, the database and the table."""
    operation = exchange.headers.get("x-amz-target", "").rpartition(".")[2]
    if operation not in GLUE_TABLE_OF:
        raise UnknownCall(f"glue: {operation}")
    body = json.loads(exchange.body)
    table_of = GLUE_TABLE_OF[operation]
    database = body["DatabaseName" if table_of else "Name"]
    table = [f"table/{database}/{table_of(body)}"] if table_of else []
    for place in ("catalog", f"database/{database}", *table):
        yield Request(f"glue:{operation}", f"arn:aws:glue:{REGION}:{DEFAULT_ACCOUNT_ID}:{place}", (TLS,))


def _sns(exchange: Exchange) -> Iterator[Request]:
    """A batch is asked for as each of its messages would be."""
    body = parse_qs(exchange.body.decode())
    if body["Action"] != ["PublishBatch"]:
        raise UnknownCall(f"sns: {body['Action']}")
    yield Request("sns:Publish", body["TopicArn"][0], (TLS,))


def _s3_object(exchange: Exchange, bucket: str, key: str) -> Iterator[Request]:
    source = exchange.headers.get("x-amz-copy-source")
    if exchange.method == "PUT" and source:
        source_bucket, _, source_key = unquote(source).removeprefix("/").partition("/")
        yield _on_object("GetObject", source_bucket, source_key)
        yield _on_object("PutObject", bucket, key)
    else:
        operations = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        if exchange.query:
            operations |= {"POST": "PutObject", "DELETE": "AbortMultipartUpload"}
        if exchange.method not in operations:
            raise UnknownCall(f"s3: {exchange.method} {exchange.path}")
        yield _on_object(operations[exchange.method], bucket, key)
    if exchange.status == NOT_FOUND:
        # "No such key" is said only to those who may list; others are told 403. The check carries no s3:prefix.
        yield Request("s3:ListBucket", bucket_arn(bucket), (TLS,))


def _on_object(operation: str, bucket: str, key: str) -> Request:
    return Request(f"s3:{operation}", f"{bucket_arn(bucket)}/{key}", (TLS,))
