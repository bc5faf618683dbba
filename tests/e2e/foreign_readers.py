"""The lake and a customer's archive, read by libraries that are not ours: the lake sealed without its key, equal to Postgres with it."""

import csv
import hashlib
import json
import os
import pathlib
import subprocess
import tarfile

import pyarrow
import pyarrow.parquet
import pyarrow.parquet.encryption
import pytest

GRANARY = os.environ["GRANARY"]
DATA_DIR = os.environ["DATA_DIR"]
FILES = sorted((pathlib.Path(DATA_DIR) / "lake").rglob("*.parquet"))


def granary(*arguments):
    answer = subprocess.run([GRANARY, *arguments, "--data-dir", DATA_DIR], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_there_is_a_lake():
    assert len(FILES) > 50


def test_no_file_opens_without_its_key():
    for file in FILES:
        with pytest.raises((OSError, pyarrow.ArrowInvalid)):
            pyarrow.parquet.read_table(file)


def test_no_file_holds_a_readable_name():
    for file in FILES:
        content = file.read_bytes()
        for word in (b"backup_runs", b"enterprise", b"amount_minor", b"vcenter"):
            assert word not in content, f"{word} in {file}"


def test_with_its_key_a_file_holds_what_postgres_holds():
    verified = json.loads(granary("export", "verify", "--format", "json"))
    assert verified and all(row["outcome"] == "equal" for row in verified), [row for row in verified if row["outcome"] != "equal"][:5]
    files = [file for file in json.loads(granary("export", "files", "--format", "json")) if file["dataset"] == "backup_runs"]
    total = 0
    for file in files:
        opened = json.loads(granary("export", "open", "--path", file["path"], "--reason", "end-to-end test"))
        properties = pyarrow.parquet.encryption.create_decryption_properties(
            footer_key=bytes.fromhex(opened["key_hex"]), aad_prefix=opened["aad_prefix"].encode()
        )
        table = pyarrow.parquet.ParquetFile(pathlib.Path(DATA_DIR) / "lake" / file["path"], decryption_properties=properties).read()
        assert table.num_rows == file["rows"]
        total += table.num_rows
    counted = json.loads(granary("query", "select count(*) as runs from stg_metering__backup_runs", "--format", "json"))
    assert counted[0]["runs"] == total > 0


def test_a_second_export_writes_nothing():
    again = json.loads(granary("export", "run"))
    assert again["files_written"] == 0, again


def test_what_a_customer_takes_along_opens_without_granary(tmp_path):
    code = json.loads(granary("customer", "list", "--format", "json"))[0]["code"]
    granary("customer", "export", code, "--out", str(tmp_path / "customer.tar"))
    with tarfile.open(tmp_path / "customer.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    rows = {}
    for file in manifest["files"]:
        content = (tmp_path / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"]), file
        if file["path"].endswith(".parquet"):
            rows[file["path"]] = pyarrow.parquet.read_table(tmp_path / file["path"]).num_rows
        elif file["path"].endswith(".csv"):
            with open(tmp_path / file["path"], newline="", encoding="utf-8") as lines:
                rows[file["path"]] = sum(1 for _ in csv.reader(lines)) - 1
        elif file["path"].endswith(".pdf"):
            assert content.startswith(b"%PDF-")
    assert rows == {file["path"]: file["rows"] for file in manifest["files"] if file["rows"] is not None}
    assert rows["parquet/backup_runs.parquet"] == rows["tables/backup_runs.csv"] > 100
    assert rows["control/invoices.csv"] > 0 and any(file["path"].startswith("reports/") for file in manifest["files"])
    assert not any("statement" in path for path in rows), "a customer never meets wholesale"
