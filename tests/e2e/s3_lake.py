"""The lake on an S3 server: written once, verified, queried, sealed; every object is created, none is overwritten."""

import io
import json
import os
import socket
import subprocess
import threading

import boto3
import pyarrow
import pyarrow.parquet
import pyarrow.parquet.encryption
import pytest
from botocore.exceptions import ClientError
from faulty_store import FAULTS, FaultyStore
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

GRANARY = os.environ["GRANARY"]
BUCKET = "granary-lake"
ID, SECRET = "AKIDGRANARYTEST", "a-secret-that-nobody-prints"
DEMO = ["demo", "--once", "--customers", "2", "--months", "2", "--until", "2025-11-10"]


class Recorder:
    """Passes requests on and keeps what the store was asked to write."""

    def __init__(self, app):
        self.app = app
        self.puts = []

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1:
            self.puts.append(
                {
                    "path": environ["PATH_INFO"],
                    "is_conditional": environ.get("HTTP_IF_NONE_MATCH") == "*",
                    "authorization": environ.get("HTTP_AUTHORIZATION", ""),
                }
            )
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def store():
    recorder = Recorder(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, recorder, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recorder.endpoint = f"http://127.0.0.1:{server.server_port}"
    recorder.client = boto3.client(
        "s3", endpoint_url=recorder.endpoint, aws_access_key_id=ID, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    recorder.client.create_bucket(Bucket=BUCKET)
    yield recorder
    server.shutdown()


class House:
    def __init__(self, folder, endpoint, config="granary.toml"):
        self.folder = folder
        self.config = folder / config
        self.config.write_text(f'[lake]\nurl = "s3://{BUCKET}/north"\n[lake.s3]\nendpoint = "{endpoint}"\naccess_key_id = "{ID}"\n')

    def run(self, *arguments, secret=SECRET, log="debug"):
        environment = {**os.environ, "GRANARY_LOG": log}
        if secret:
            environment["GRANARY_LAKE_S3_SECRET_ACCESS_KEY"] = secret
        command = [GRANARY, *arguments, "--data-dir", self.folder / "data", "--config", self.config]
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        assert SECRET not in answer.stdout + answer.stderr
        return answer

    def ok(self, *arguments):
        answer = self.run(*arguments)
        assert answer.returncode == 0, answer.stderr[-4000:]
        return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def house(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    # Postgres runs as another account when we are root, and must be able to enter.
    for directory in (folder, *list(folder.parents)[:2]):
        directory.chmod(0o755)
    house = House(folder, store.endpoint)
    house.ok(*DEMO)
    return house


def objects(store):
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}


def test_the_lake_lies_under_the_prefix_and_nowhere_else(house, store):
    assert len(objects(store)) > 50
    assert all(name.startswith("north/") for name in objects(store))
    assert not (house.folder / "data" / "lake").exists()


def test_every_object_was_created_under_a_condition_and_signed(house, store):
    assert len(store.puts) >= len(objects(store))
    for put in store.puts:
        assert put["is_conditional"], put
        assert put["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ID}/"), put
    with pytest.raises(ClientError, match="PreconditionFailed"):
        store.client.put_object(Bucket=BUCKET, Key=next(iter(objects(store))), Body=b"other", IfNoneMatch="*")


def test_postgres_and_the_bucket_hold_the_same(house):
    verified = house.ok("export", "verify", "--format", "json")
    assert len(verified) > 50 and all(row["outcome"] == "equal" for row in verified)


def test_a_second_export_writes_nothing(house, store):
    before = objects(store)
    assert house.ok("export", "run")["files_written"] == 0
    assert objects(store) == before


def test_no_object_opens_without_its_key_and_with_it_the_rows_are_those_of_the_query(house, store):
    contents = {name: store.client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in objects(store)}
    for name, content in contents.items():
        with pytest.raises((OSError, pyarrow.ArrowInvalid)):
            pyarrow.parquet.read_table(io.BytesIO(content))
        assert b"amount_minor" not in content and b"machine_id" not in content, name
    transferred = 0
    for file in house.ok("export", "files", "--format", "json"):
        if file["dataset"] != "backup_runs":
            continue
        opened = house.ok("export", "open", "--path", file["path"], "--reason", "end-to-end test")
        properties = pyarrow.parquet.encryption.create_decryption_properties(
            footer_key=bytes.fromhex(opened["key_hex"]), aad_prefix=opened["aad_prefix"].encode()
        )
        content = io.BytesIO(contents[f"north/{file['path']}"])
        table = pyarrow.parquet.ParquetFile(content, decryption_properties=properties).read()
        assert table.num_rows == file["rows"]
        transferred += sum(table["transferred_bytes"].to_pylist())
    [counted] = house.ok("query", "select sum(transferred_bytes) as transferred from stg_metering__backup_runs", "--format", "json")
    assert int(float(counted["transferred"])) == transferred > 0


def test_a_lost_object_is_found(house, store):
    [lost, *_] = [file for file in house.ok("export", "files", "--format", "json") if file["dataset"] == "tickets"]
    kept = store.client.get_object(Bucket=BUCKET, Key=f"north/{lost['path']}")["Body"].read()
    store.client.delete_object(Bucket=BUCKET, Key=f"north/{lost['path']}")
    answer = house.run("export", "verify", "--format", "json")
    store.client.put_object(Bucket=BUCKET, Key=f"north/{lost['path']}", Body=kept)
    wrong = [row for row in json.loads(answer.stdout) if row["outcome"] != "equal"]
    assert answer.returncode == 1 and len(wrong) == 1 and "unreadable" in wrong[0]["outcome"], wrong


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_over_a_bad_line_a_night_ends_right_or_says_what_failed_and_the_next_one_heals(house, store, seed):
    """Every fifth request fails in one of the ways that requests fail in; answers to what was done get lost as well."""
    line = FaultyStore(store.endpoint, seed, share=0.2)
    bad = House(house.folder, line.endpoint, f"bad-{seed}.toml")
    before = {file["path"] for file in house.ok("export", "files", "--format", "json")}

    def ends_well(*arguments):
        answer = bad.run(*arguments, log="error")
        # It names the store, or what it could not get from there.
        assert answer.returncode == 0 or "127.0.0.1" in answer.stderr + answer.stdout or "lake/" in answer.stderr, answer
        return answer.returncode == 0

    [customer, *_] = house.ok("customer", "list", "--format", "json")
    # A month is written anew that has not changed: every file of the customer goes over the line.
    ends_well("export", "backfill", customer["code"])
    ends_well("export", "verify", "--format", "json")
    for attempt in range(5):
        if ends_well("export", "run"):
            break
    ends_well("query", "select sum(transferred_bytes) as transferred from stg_metering__backup_runs", "--format", "json")
    assert sum(line.met[fault] for fault in FAULTS) > 10, line.met
    line.is_bad = False
    healed = bad.ok("export", "run")
    assert healed["failures"] == [], healed
    line.close()
    assert {row["outcome"] for row in house.ok("export", "verify", "--format", "json")} == {"equal"}
    files = house.ok("export", "files", "--format", "json")
    mine = [file for file in files if file["customer"] == customer["code"]]
    assert mine and not before & {file["path"] for file in mine}, "every file of the customer was written anew"
    # Nothing is there twice, and no half of an object is.
    assert len({(file["customer"], file["dataset"], file["month"], file["part"]) for file in files}) == len(files)
    sizes = {item["Key"]: item["Size"] for item in store.client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert all(sizes.get(f"north/{file['path']}", file["size_bytes"]) == file["size_bytes"] for file in files)


def test_a_server_that_is_not_there_is_named_within_a_minute(house):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    lost = House(house.folder, nowhere, "nowhere.toml")
    verify = lost.run("export", "verify", log="error")
    assert verify.returncode == 5 and nowhere in verify.stderr, verify
    query = lost.run("query", "select sum(transferred_bytes) from stg_metering__backup_runs", log="error")
    assert query.returncode == 5 and nowhere in query.stderr, query


def test_half_of_the_credentials_is_refused(house):
    answer = house.run("export", "files", secret=None)
    assert answer.returncode == 2 and "GRANARY_LAKE_S3_SECRET_ACCESS_KEY" in answer.stderr, answer
