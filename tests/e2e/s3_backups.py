"""Backups on an S3 server, under a master key behind a KMS: made, tried out, restored, spoilt, pruned."""

import json
import os
import subprocess
import threading

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

GRANARY = os.environ["GRANARY"]
BUCKET = "granary-backups"
URL = f"s3://{BUCKET}/north"
ID, SECRET = "AKIDGRANARYBACKUP", "a-third-secret-that-nobody-prints"


@pytest.fixture(scope="module")
def cloud():
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class Cloud:
        endpoint = f"http://127.0.0.1:{server.server_port}"

    def client(name):
        return boto3.client(
            name, endpoint_url=Cloud.endpoint, aws_access_key_id=ID, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    Cloud.s3, Cloud.kms = client("s3"), client("kms")
    Cloud.s3.create_bucket(Bucket=BUCKET)
    Cloud.key = Cloud.kms.create_key()["KeyMetadata"]["KeyId"]
    yield Cloud
    server.shutdown()


class House:
    def __init__(self, folder, cloud, data="data"):
        self.folder, self.cloud, self.data = folder, cloud, folder / data
        self.config = folder / "granary.toml"
        store = f'[lake.s3]\nendpoint = "{cloud.endpoint}"\naccess_key_id = "{ID}"\n'
        kms = f'[keys.kms]\nkey_id = "{cloud.key}"\nendpoint = "{cloud.endpoint}"\naccess_key_id = "{ID}"\n'
        self.config.write_text(store + kms)

    def run(self, *arguments):
        secrets = {"GRANARY_LAKE_S3_SECRET_ACCESS_KEY": SECRET, "GRANARY_KEYS_KMS_SECRET_ACCESS_KEY": SECRET}
        command = [GRANARY, *arguments, "--data-dir", self.data, "--config", self.config]
        environment = {**os.environ, "GRANARY_LOG": "debug", **secrets}
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        assert SECRET not in answer.stdout + answer.stderr
        return answer

    def ok(self, *arguments):
        answer = self.run(*arguments)
        assert answer.returncode == 0, answer.stderr[-4000:]
        return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def house(cloud, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backups")
    for parent in [folder, *folder.parents]:
        if str(parent).startswith(str(tmp_path_factory.getbasetemp())):
            parent.chmod(0o755)
    house = House(folder, cloud)
    house.ok("msp", "add", "NORTH", "--name", "Northern Backup")
    house.ok("customer", "add", "ACME", "--name", "ACME Inc.", "--source", "vbr")
    return house


def names(cloud):
    return [found["Key"] for found in cloud.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_a_backup_leads_back_from_the_bucket(house, cloud):
    made = house.ok("backup", "--to", URL)
    assert made["size_bytes"] > 1_000_000 and made["from_at"] < made["until_at"]
    assert all(name.startswith("north/") for name in names(cloud))
    tried = house.ok("drill", "--from", URL, "--format", "json")
    assert {row["outcome"] for row in tried} == {"ok"}, tried
    restored = House(house.folder, cloud, "restored")
    restored.ok("restore", "--from", URL)
    assert not (restored.data / "keys" / "master").exists(), "the master stays behind the service"
    customers = restored.ok("customer", "list", "--format", "json")
    assert customers[0]["code"] == "ACME"


def test_what_is_missing_in_the_bucket_is_named(house, cloud):
    part = [name for name in names(cloud) if name.endswith("/part-000000")][-1]
    content = cloud.s3.get_object(Bucket=BUCKET, Key=part)["Body"].read()
    cloud.s3.delete_object(Bucket=BUCKET, Key=part)
    answer = House(house.folder, cloud, "spoilt").run("restore", "--from", URL)
    assert answer.returncode != 0 and part.removeprefix("north/") in answer.stderr, answer.stderr
    cloud.s3.put_object(Bucket=BUCKET, Key=part, Body=content)


def test_old_backups_go(house, cloud):
    newest = house.ok("backup", "--to", URL)
    pruned = house.ok("backup", "prune", "--from", URL, "--keep", "1")
    assert pruned["bases"] == 1 and pruned["objects"] > 0
    listed = house.ok("backup", "list", "--from", URL, "--format", "json")
    assert [base["base"] for base in listed] == [newest["base"]]
    house.ok("drill", "--from", URL, "--format", "json")
