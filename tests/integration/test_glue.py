"""The catalog in moto's Glue: what is sent, what others do meanwhile, and readers that go by the catalog alone."""

import json
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pytest
from arro3.core import DataType
from lake_files import HOUR_MS, column, file_of

from headrace.aws import client_config
from headrace.catalog import Changes, Column, Partition, Table
from headrace.errors import CatalogConflict, ConfigurationError, InfrastructureError
from headrace.glue import GlueCatalog
from headrace.objects import open_lake
from headrace.registrar import Registrar
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run

NOW_MS = 1_710_324_000_000
DATABASE = "headrace_test"
ID, NAME = column("id", DataType.int32()), column("name", DataType.string())


@pytest.fixture(scope="module")
def server():
    with LocalAws() as server:
        yield server


@pytest.fixture
def aws(server, monkeypatch):
    """The server with an empty bucket and an empty database."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    glue, objects = server.client("glue"), open_lake(f"s3://{server.bucket}")
    objects.delete(list(objects.keys("")))
    for database in glue.get_databases()["DatabaseList"]:
        glue.delete_database(Name=database["Name"])
    glue.create_database(DatabaseInput={"Name": DATABASE})
    return server


@pytest.fixture
def objects(aws):
    return open_lake(f"s3://{aws.bucket}")


@pytest.fixture
def registrar(aws, objects):
    return Registrar(objects, GlueCatalog(DATABASE), f"s3://{aws.bucket}")


@pytest.fixture
def glue(aws):
    return aws.client("glue")


def put(objects, hours_ago, fields=(ID, NAME), values=None, **options):
    key, content = file_of("clicks", NOW_MS - hours_ago * HOUR_MS, fields, values, **options)
    objects.stage({key: content})
    return key


def rows_by_pyarrow(aws, table):
    """Every row of a table, by its location, columns and partitions in the catalog alone."""
    host = aws.endpoint.removeprefix("http://")
    s3 = pyarrow.fs.S3FileSystem(
        access_key="local", secret_key="local", endpoint_override=host, scheme="http", region="eu-west-1"
    )
    kinds = {"int": pyarrow.int32(), "bigint": pyarrow.int64(), "string": pyarrow.string()}
    schema = pyarrow.schema([(c["Name"], kinds[c["Type"]]) for c in table["StorageDescriptor"]["Columns"]])
    rows = []
    for partition in partitions_of(aws, table["Name"]):
        path = partition["StorageDescriptor"]["Location"].removeprefix("s3://")
        found = pyarrow.dataset.dataset(path, schema, format="parquet", filesystem=s3).to_table()
        rows += [dict(zip(("date", "hour"), partition["Values"], strict=True)) | row for row in found.to_pylist()]
    return rows


def rows_by_duckdb(aws, table, objects, tmp_path):
    """The same by another engine; the objects come through a folder, which needs no extension for S3."""
    columns = ", ".join(f'"{c["Name"]}" {c["Type"]}' for c in table["StorageDescriptor"]["Columns"])
    rows = []
    for number, partition in enumerate(partitions_of(aws, table["Name"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        for key in objects.keys(partition["StorageDescriptor"]["Location"].removeprefix(f"s3://{aws.bucket}/")):
            (folder / key.rpartition("/")[2]).write_bytes(objects.read(key))
        with duckdb.connect() as engine:
            engine.execute(f"create table t ({columns})")
            engine.execute(f"insert into t by name from read_parquet('{folder}/*.parquet', union_by_name = true)")
            cursor = engine.execute("select * from t")
            names = [column for column, *_ in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        rows += [dict(zip(("date", "hour"), partition["Values"], strict=True)) | row for row in found]
    return rows


def partitions_of(aws, table):
    return aws.client("glue").get_partitions(DatabaseName=DATABASE, TableName=table)["Partitions"]


def by_id(rows):
    return sorted(rows, key=lambda row: (row["id"], str(row)))


def test_readers_by_the_catalog_find_exactly_the_published_rows(aws, objects, registrar, glue, tmp_path):
    """Two schemas in one hour, staged files beside: old rows have null where their file has no column."""
    for hours in range(3):
        put(objects, hours, values={"id": hours, "name": f"n{hours}"})
    wide = (column("id", DataType.int64()), column("tag", DataType.string()))
    put(objects, 0, wide, {"id": 2**40, "tag": "new"}, version=2)
    objects.stage({"staging/u/0": b"not published"})
    registrar.register(NOW_MS)
    table = glue.get_table(DatabaseName=DATABASE, Name="landing_clicks")["Table"]
    expected = [
        {"date": "2024-03-13", "hour": "08", "id": 2, "name": "n2", "tag": None},
        {"date": "2024-03-13", "hour": "09", "id": 1, "name": "n1", "tag": None},
        {"date": "2024-03-13", "hour": "10", "id": 0, "name": "n0", "tag": None},
        {"date": "2024-03-13", "hour": "10", "id": 2**40, "name": None, "tag": "new"},
    ]
    assert by_id(rows_by_pyarrow(aws, table)) == by_id(expected)
    assert by_id(rows_by_duckdb(aws, table, objects, tmp_path)) == by_id(expected)


def test_a_partition_is_registered_with_what_readers_ask_for(aws, objects, registrar, glue):
    put(objects, 0)
    registrar.register(NOW_MS)
    table = glue.get_table(DatabaseName=DATABASE, Name="landing_clicks")["Table"]
    (partition,) = partitions_of(aws, "landing_clicks")
    assert table["TableType"] == "EXTERNAL_TABLE"
    assert table["Parameters"]["classification"] == "parquet"
    assert table["PartitionKeys"] == [{"Name": "date", "Type": "string"}, {"Name": "hour", "Type": "string"}]
    for storage in (table["StorageDescriptor"], partition["StorageDescriptor"]):
        assert storage["InputFormat"].endswith("MapredParquetInputFormat")
        assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")
        assert [(c["Name"], c["Type"]) for c in storage["Columns"]] == [("id", "int"), ("name", "string")]


def test_a_second_run_sends_no_change(objects, registrar):
    put(objects, 0)
    registrar.register(NOW_MS)
    sent = []
    client = registrar._catalog._client
    client.meta.events.register("before-call.glue", lambda model, **_: sent.append(model.name))
    registrar.register(NOW_MS)
    assert sent == ["GetTables", "GetPartitions"]


def test_two_runs_at_once_do_no_harm(aws, objects):
    for hours in range(120):
        put(objects, hours)

    def one(_):
        return Registrar(objects, GlueCatalog(DATABASE), f"s3://{aws.bucket}").register(NOW_MS)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(one, range(6)))
    assert [found.failures for found in done] == [{}] * 6
    partitions = GlueCatalog(DATABASE).partitions("landing_clicks")
    assert len(partitions) == 120
    assert one(0).added == 0


def test_a_run_that_was_overtaken_between_its_look_and_its_change_does_no_harm(aws, objects):
    """Two look, then both change: at first the table is new to both, then three hours, then a column."""
    one, other = (GlueCatalog(DATABASE, aws.client("glue")) for _ in range(2))

    def both_register(*, found):
        plans = [list(Registrar(objects, each, f"s3://{aws.bucket}").plans(NOW_MS)) for each in (one, other)]
        assert [[bool(plan.changes) for plan in each] for each in plans] == [[found]] * 2
        for catalog, (plan,) in zip((one, other), plans, strict=True):
            catalog.apply(plan.changes)

    put(objects, 0)
    both_register(found=True)
    for hours in (1, 2, 3):
        put(objects, hours)
    both_register(found=True)
    put(objects, 0, (ID, NAME, column("new", DataType.string())), version=2)
    both_register(found=True)
    both_register(found=False)
    assert len(one.partitions("landing_clicks")) == 4


def test_partitions_go_a_hundred_to_a_call_or_fewer_if_they_are_wide(registrar):
    sizes = []
    catalog = registrar._catalog
    catalog._client.meta.events.register(
        "before-parameter-build.glue.BatchCreatePartition",
        lambda params, **_: sizes.append(len(params["PartitionInputList"])),
    )
    for name, width in (("narrow", 3), ("wide", 5000)):
        columns = tuple(Column(f"column_{number}", "bigint") for number in range(width))
        table = Table(name, f"s3://lake/{name}/", columns, ("date", "hour"), {})
        add = tuple(Partition((f"{n:04}", "00"), f"s3://lake/{name}/{n}/", {}) for n in range(230 if width == 3 else 8))
        catalog.apply(Changes(table, create=True, add=add))
    assert sizes == [100, 100, 30, 3, 3, 2]


def test_what_others_have_set_on_a_table_stays(objects, registrar, glue):
    put(objects, 0)
    registrar.register(NOW_MS)
    table = glue.get_table(DatabaseName=DATABASE, Name="landing_clicks")["Table"]
    storage = table["StorageDescriptor"]
    storage["Columns"] = [{"Name": "id", "Type": "int", "Parameters": {"pii": "no"}}, {"Name": "more", "Type": "date"}]
    storage["Parameters"] = {"averageRecordSize": "12"}
    theirs = {"Name": "landing_clicks", "Owner": "team", "Retention": 9, "StorageDescriptor": storage}
    kept = {"Parameters": table["Parameters"], "PartitionKeys": table["PartitionKeys"]}
    glue.update_table(DatabaseName=DATABASE, TableInput=theirs | kept)
    assert registrar.register(NOW_MS).updated == 1
    now = glue.get_table(DatabaseName=DATABASE, Name="landing_clicks")["Table"]
    assert (now["Owner"], now["Retention"]) == ("team", 9)
    assert now["StorageDescriptor"]["Parameters"] == {"averageRecordSize": "12"}
    assert now["StorageDescriptor"]["Columns"][0]["Parameters"] == {"pii": "no"}
    assert [c["Name"] for c in now["StorageDescriptor"]["Columns"]] == ["id", "more", "name"]


def test_pages_are_read_to_the_end(objects, registrar):
    """moto has no pages: its answers are cut here."""
    for hours in range(5):
        put(objects, hours)
    registrar.register(NOW_MS)
    left = []

    def cut(parsed, **_):
        left[:] = left or parsed["Partitions"]
        parsed["Partitions"] = left[:2]
        del left[:2]
        if left:
            parsed["NextToken"] = "more"

    registrar._catalog._client.meta.events.register("after-call.glue.GetPartitions", cut)
    assert len(registrar._catalog.partitions("landing_clicks")) == 5


def answering(catalog, operation, **parsed):
    catalog._client.meta.events.register(f"after-call.glue.{operation}", lambda parsed, **_: parsed.update(answer))
    answer = parsed


def failing(server, operation, status, code):
    """A catalog to which Glue answers one operation with an error."""
    client = server.client("glue", client_config(attempts=1))

    def answer(**_):
        from botocore.awsrequest import AWSResponse  # noqa: PLC0415 - what botocore itself gets

        body = json.dumps({"__type": code, "message": "because"}).encode()
        response = AWSResponse("http://glue", status, {"content-type": "application/x-amz-json-1.1"}, None)
        response._content = body
        return response

    client.meta.events.register(f"before-send.glue.{operation}", answer)
    return GlueCatalog(DATABASE, client)


NARROW = Table("t", "s3://lake/t/", (Column("a", "int"),), ("date",), {})
ONE = Partition(("2024-03-13",), "s3://lake/t/date=2024-03-13/", {})


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ThrottlingException", InfrastructureError),
        (400, "OperationTimeoutException", InfrastructureError),
        (500, "InternalServiceException", InfrastructureError),
        (400, "AccessDeniedException", ConfigurationError),
        (400, "ResourceNumberLimitExceededException", ConfigurationError),
    ],
)
def test_what_glue_refuses_is_told_apart(aws, status, code, error):
    with pytest.raises(error, match=f"{code}: because") as caught:
        failing(aws, "CreateTable", status, code).apply(Changes(NARROW, create=True))
    assert caught.value.retriable == (error is InfrastructureError)


@pytest.mark.parametrize("operation", ["CreateTable", "UpdateTable"])
def test_who_was_overtaken_leaves_the_partitions_to_the_next_run(aws, glue, operation):
    code = "AlreadyExistsException" if operation == "CreateTable" else "ConcurrentModificationException"
    changes = Changes(NARROW, operation == "CreateTable", ("columns",) * (operation == "UpdateTable"), (ONE,))
    failing(aws, operation, 400, code).apply(changes)
    assert glue.get_tables(DatabaseName=DATABASE)["TableList"] == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AlreadyExistsException", None),
        ("EntityNotFoundException", None),
        ("InternalServiceException", InfrastructureError),
        ("ResourceNumberLimitExceededException", CatalogConflict),
    ],
)
def test_an_error_of_one_partition_is_told_apart(aws, code, error):
    catalog = GlueCatalog(DATABASE, aws.client("glue"))
    failed = [{"PartitionValues": ["2024-03-13"], "ErrorDetail": {"ErrorCode": code, "ErrorMessage": "because"}}]
    answering(catalog, "BatchCreatePartition", Errors=failed)
    changes = Changes(NARROW, create=True, add=(ONE,))
    if error is None:
        catalog.apply(changes)
    else:
        with pytest.raises(error, match=f"2024-03-13.* of t: {code}: because"):
            catalog.apply(changes)


@pytest.mark.usefixtures("aws")
def test_a_table_that_is_gone_by_now_is_made_by_the_next_run():
    with pytest.raises(InfrastructureError, match="EntityNotFoundException"):
        GlueCatalog(DATABASE).apply(Changes(NARROW, add=(ONE,)))


@pytest.mark.usefixtures("aws")
def test_a_database_that_does_not_exist_is_named():
    with pytest.raises(ConfigurationError, match="no database 'nowhere'"):
        GlueCatalog("nowhere").tables()


# --- Command ---------------------------------------------------------------------------------------------------------


def test_the_command_plans_applies_and_is_then_content(aws, objects, capsys):
    for hours in range(40):
        put(objects, hours)
    lake, options = f"s3://{aws.bucket}", ["--database", "by_hand"]
    assert run(["lake", "catalog", "plan", lake, *options]) == 2
    assert "no database 'by_hand'" in capsys.readouterr().err
    assert run(["lake", "catalog", "apply", lake, *options, "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row == {
        "table": "landing/clicks",
        "name": "landing_clicks",
        "add": 40,
        "replace": 0,
        "remove": 0,
        "changes": ["new table"],
    }
    assert run(["lake", "catalog", "plan", lake, *options]) == 0
    put(objects, 0, (ID, NAME, column("new", DataType.bool())), version=2)
    assert run(["lake", "catalog", "plan", lake, *options]) == 1
    assert "new column new boolean" in capsys.readouterr().out
    assert run(["lake", "catalog", "apply", lake, *options]) == 0
    assert run(["lake", "catalog", "plan", lake, *options]) == 0


def test_a_table_that_cannot_be_told_is_a_failure_of_the_command(aws, objects, glue, capsys):
    put(objects, 0)
    glue.create_table(DatabaseName=DATABASE, TableInput={"Name": "landing_clicks"})
    for verb in ("plan", "apply"):
        assert run(["lake", "catalog", verb, f"s3://{aws.bucket}", "--database", DATABASE]) == 1
        assert "somebody else's" in capsys.readouterr().out


def test_a_lake_in_a_folder_has_no_place_in_the_catalog(tmp_path, capsys):
    assert run(["lake", "catalog", "plan", str(tmp_path), "--database", "x"]) == 2
    assert "s3://BUCKET" in capsys.readouterr().err
