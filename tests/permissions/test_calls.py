"""What IAM is asked for each request that the functions can send, and that nothing else passes unnoticed."""

import json

import pytest
from permissions.calls import Caller, UnknownCall, caller, needed, of_the_key
from permissions.policy import Request

from headrace_cli.local.aws_server import Exchange, LocalAws

LAKE = "arn:aws:s3:::lake"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/t"
DELETE = b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object><Object><Key>b/c</Key></Object></Delete>'


def exchange(service, method, path="/", query="", body=b"", status=200, **headers):
    signed = {"authorization": f"AWS4-HMAC-SHA256 Credential=me/20261123/eu-west-1/{service}/aws4_request, Sig"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange(method, path, query, signed | names, body, status)


def dynamodb(operation, **body):
    return exchange("dynamodb", "POST", body=json.dumps(body).encode(), x_amz_target=f"DynamoDB_20120810.{operation}")


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        (exchange("s3", "GET", "/lake/state/a"), [("s3:GetObject", f"{LAKE}/state/a")]),
        (exchange("s3", "HEAD", "/lake/state/a"), [("s3:GetObject", f"{LAKE}/state/a")]),
        (
            exchange("s3", "GET", "/lake/state/a", status=404),
            [("s3:GetObject", f"{LAKE}/state/a"), ("s3:ListBucket", LAKE)],
        ),
        (exchange("s3", "PUT", "/lake/staging/a/0"), [("s3:PutObject", f"{LAKE}/staging/a/0")]),
        (exchange("s3", "POST", "/lake/tables/a", "uploads"), [("s3:PutObject", f"{LAKE}/tables/a")]),
        (exchange("s3", "PUT", "/lake/tables/a", "partNumber=1&uploadId=u"), [("s3:PutObject", f"{LAKE}/tables/a")]),
        (exchange("s3", "DELETE", "/lake/tables/a", "uploadId=u"), [("s3:AbortMultipartUpload", f"{LAKE}/tables/a")]),
        (
            exchange("s3", "PUT", "/lake/lake/ü=1", x_amz_copy_source="lake/staging/%C3%BC/0"),
            [("s3:GetObject", f"{LAKE}/staging/ü/0"), ("s3:PutObject", f"{LAKE}/lake/ü=1")],
        ),
        (exchange("s3", "DELETE", "/lake/a"), [("s3:DeleteObject", f"{LAKE}/a")]),
        (
            exchange("s3", "POST", "/lake", "delete", DELETE),
            [("s3:DeleteObject", f"{LAKE}/a"), ("s3:DeleteObject", f"{LAKE}/b/c")],
        ),
        (exchange("s3", "GET", "/lake", "list-type=2&prefix=state%2F"), [("s3:ListBucket", LAKE)]),
        (dynamodb("BatchGetItem", RequestItems={"t": {"Keys": []}}), [("dynamodb:BatchGetItem", TABLE)]),
        (dynamodb("PutItem", TableName="t", Item={"pk": {"S": "a"}}), [("dynamodb:PutItem", TABLE)]),
        (dynamodb("UpdateItem", TableName="t", Key={"pk": {"S": "a"}}), [("dynamodb:UpdateItem", TABLE)]),
        (dynamodb("Scan", TableName="t"), [("dynamodb:Scan", TABLE)]),
        (exchange("sns", "POST", body=b"Action=PublishBatch&TopicArn=arn%3At"), [("sns:Publish", "arn:t")]),
    ],
)
def test_actions_and_resources(sent, asked):
    assert [(request.action, request.resource) for request in needed(sent)] == asked


@pytest.mark.parametrize(
    ("sent", "key", "values"),
    [
        (exchange("s3", "GET", "/lake", "list-type=2&prefix=state%2F"), "s3:prefix", ("state/",)),
        (exchange("s3", "GET", "/lake", "list-type=2"), "s3:prefix", None),
        (exchange("s3", "GET", "/lake/a"), "aws:SecureTransport", ("true",)),
        (
            dynamodb("BatchGetItem", RequestItems={"t": {"Keys": [{"pk": {"S": k}} for k in "bab"]}}),
            *("dynamodb:LeadingKeys", ("a", "b")),
        ),
        (dynamodb("PutItem", TableName="t", Item={"pk": {"S": "a"}}), "dynamodb:LeadingKeys", ("a",)),
        (dynamodb("Scan", TableName="t"), "dynamodb:LeadingKeys", None),
    ],
)
def test_condition_keys(sent, key, values):
    (request,) = needed(sent)
    assert request.values(key) == values


@pytest.mark.parametrize(
    ("action", "asked", "service"),
    [
        ("s3:GetObject", "kms:Decrypt", "s3"),
        ("s3:PutObject", "kms:GenerateDataKey", "s3"),
        ("dynamodb:PutItem", "kms:Decrypt", "dynamodb"),
        ("sns:Publish", "kms:Decrypt", "sns"),
    ],
)
def test_a_customers_key_is_asked_for_through_the_service(action, asked, service):
    request, *more = of_the_key(Request(action, "*"))
    assert [each.action for each in more] == (["kms:GenerateDataKey"] if action == "sns:Publish" else [])
    assert (request.action, request.values("kms:ViaService")) == (asked, (f"{service}.eu-west-1.amazonaws.com",))


@pytest.mark.parametrize(
    "sent",
    [
        exchange("sqs", "POST"),
        exchange("sns", "POST", body=b"Action=Publish&TopicArn=arn%3At"),
        exchange("s3", "GET", "/"),
        exchange("s3", "GET", "/lake", "versions"),
        exchange("s3", "GET", "/lake/a", "versionId=1"),
        exchange("s3", "POST", "/lake/a", "restore"),
        exchange("s3", "PUT", "/lake/a", x_amz_tagging="a=b"),
        exchange("s3", "PUT", "/lake/a", x_amz_acl="private"),
        exchange("s3", "POST", "/lake/a"),
        dynamodb("DeleteItem", TableName="t", Key={"pk": {"S": "a"}}),
        dynamodb("Scan", TableName="t", IndexName="i"),
        Exchange("GET", "/lake/a", "", {}, b"", 200),
    ],
)
def test_what_is_not_modelled_is_refused(sent):
    with pytest.raises(UnknownCall):
        needed(sent)


def test_the_server_tells_of_each_request_as_it_was_sent_and_answered():
    seen = []
    with LocalAws(on_exchange=seen.append) as server:
        s3 = server.client("s3")
        s3.put_object(Bucket=server.bucket, Key="ü/a b=1", Body=b"bytes")
        assert s3.get_object(Bucket=server.bucket, Key="ü/a b=1")["Body"].read() == b"bytes"
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket=server.bucket, Key="lost")
    objects = [each for each in seen if each.path.startswith("/lake/")]
    assert [(each.method, each.path, each.status) for each in objects] == [
        ("PUT", "/lake/ü/a b=1", 200),
        ("GET", "/lake/ü/a b=1", 200),
        ("GET", "/lake/lost", 404),
    ]
    assert b"bytes" in objects[0].body
    assert caller(objects[0]) == Caller("local", "s3")
