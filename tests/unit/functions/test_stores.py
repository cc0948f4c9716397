"""The stores of a deployment: chosen by URL, opened once, and nothing imported that is not used."""

import subprocess
import sys
from pathlib import Path

import pytest

import stores
from headrace.checkpoint import MemoryCheckpointStore
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import ConfigurationError
from headrace.folder import FolderCheckpointStore
from headrace.objects import ObjectStoreOutbox
from headrace.outbox import MemoryOutbox
from headrace.settings import Settings

FUNCTIONS = Path(stores.__file__).parent


def test_each_url_opens_its_store(tmp_path):
    cases = [
        ("memory:", MemoryCheckpointStore, "memory:", MemoryOutbox),
        (f"file:{tmp_path}/c", FolderCheckpointStore, f"file:{tmp_path}/l", ObjectStoreOutbox),
        ("dynamodb:some-table", DynamoDBCheckpointStore, "s3://some-bucket/prefix", ObjectStoreOutbox),
    ]
    for checkpoints, store_type, lake, outbox_type in cases:
        settings = Settings(checkpoints=checkpoints, lake=lake)
        assert type(stores.checkpoint_store(settings)) is store_type
        assert type(stores.outbox(settings)) is outbox_type


def test_a_process_has_one_store_of_each_kind():
    """In a dry run the memory is the state: a second store would start again from nothing."""
    assert stores.checkpoint_store(Settings()) is stores.checkpoint_store(Settings(generation="2"))
    assert stores.outbox(Settings()) is stores.outbox(Settings(generation="2"))


def test_a_missing_region_is_a_named_error(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="'no-region': NoRegionError"):
        stores.checkpoint_store(Settings(checkpoints="dynamodb:no-region", lake="s3://bucket"))


@pytest.mark.parametrize(
    ("checkpoints", "lake", "not_imported"),
    [
        ("memory:", "memory:", {"boto3", "botocore", "obstore", "confluent_kafka"}),
        ("file:c", "file:l", {"boto3", "botocore", "confluent_kafka"}),
        ("dynamodb:table", "s3://bucket", {"boto3", "confluent_kafka"}),
    ],
)
def test_a_cold_start_imports_only_what_it_uses(tmp_path, checkpoints, lake, not_imported):
    script = (
        "import sys, stores; from headrace.settings import Settings;"
        f" s = Settings(checkpoints={checkpoints!r}, lake={lake!r}); stores.checkpoint_store(s); stores.outbox(s);"
        f" print(*sorted({not_imported!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(FUNCTIONS), "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == ""
