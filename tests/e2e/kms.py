"""The master key behind a key management service: made there, opened there, changed there, and nowhere on the disk."""

import json
import os
import subprocess
import threading

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

GRANARY = os.environ["GRANARY"]
ID, SECRET = "AKIDGRANARYKMS", "another-secret-that-nobody-prints"


class Recorder:
    """Passes requests on and keeps which operations were asked for, and how they were signed. A disabled key does nothing, as
    AWS documents it for Decrypt and GenerateDataKey; moto goes on with it."""

    def __init__(self, app):
        self.app = app
        self.asked = []
        self.is_disabled = False

    def __call__(self, environ, start_response):
        operation = environ.get("HTTP_X_AMZ_TARGET", "")
        if operation:
            self.asked.append((operation, environ.get("HTTP_AUTHORIZATION", "")))
        if self.is_disabled and operation in ("TrentService.Decrypt", "TrentService.GenerateDataKey"):
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps({"__type": "DisabledException", "message": f"{self.key} is disabled."}).encode()]
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def service():
    recorder = Recorder(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, recorder, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recorder.endpoint = f"http://127.0.0.1:{server.server_port}"
    recorder.client = boto3.client(
        "kms", endpoint_url=recorder.endpoint, aws_access_key_id=ID, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    recorder.key = recorder.client.create_key()["KeyMetadata"]["KeyId"]
    recorder.asked.clear()
    yield recorder
    server.shutdown()


class House:
    def __init__(self, folder, service):
        self.folder = folder
        self.config = folder / "granary.toml"
        self.config.write_text(
            f'[keys.kms]\nkey_id = "{service.key}"\nendpoint = "{service.endpoint}"\naccess_key_id = "{ID}"\n'
        )

    def run(self, *arguments, config=True, **environment):
        environment = {**os.environ, "GRANARY_LOG": "debug", "GRANARY_KEYS_KMS_SECRET_ACCESS_KEY": SECRET, **environment}
        command = [GRANARY, *arguments, "--data-dir", self.folder / "data"] + (["--config", self.config] if config else [])
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        assert SECRET not in answer.stdout + answer.stderr
        return answer

    def ok(self, *arguments, **options):
        answer = self.run(*arguments, **options)
        assert answer.returncode == 0, answer.stderr[-4000:]
        return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def house(service, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kms")
    # Postgres runs as another account when we are root, and must be able to enter.
    for directory in (folder, *list(folder.parents)[:2]):
        directory.chmod(0o755)
    house = House(folder, service)
    house.ok("msp", "add", "NORTH", "--name", "Northern Backup")
    house.ok("customer", "add", "ACME", "--name", "Acme Ltd")
    return house


def test_the_service_made_the_master_and_the_disk_has_none(house, service):
    assert ("TrentService.GenerateDataKey", True) in [(name, sign.startswith(f"AWS4-HMAC-SHA256 Credential={ID}/")) for name, sign in service.asked]
    assert "TrentService.Decrypt" in [name for name, _ in service.asked]
    assert not (house.folder / "data" / "keys" / "master").exists()
    [master] = house.ok("key", "status", "--format", "json")
    assert master["source"] == "kms" and master["is_current"] and master["is_held"] and master["keys"] >= 8


def test_a_rotation_makes_another_master_and_rewraps_every_key(house, service):
    before = house.ok("key", "status", "--format", "json")[0]
    rotation = house.ok("key", "rotate")
    assert rotation["current"] != before["fingerprint"] and rotation["rewrapped"] == before["keys"]
    current, retired = house.ok("key", "status", "--format", "json")
    assert (current["keys"], retired["keys"], retired["is_current"]) == (before["keys"], 0, False)
    verified = house.ok("audit", "verify", "--format", "json")
    assert all(chain["faults"] == [] for chain in verified)


def test_a_service_that_refuses_is_named_and_nothing_is_made_instead(house, service):
    service.is_disabled = True
    answer = house.run("customer", "add", "GLOBEX", "--name", "Globex")
    service.is_disabled = False
    assert answer.returncode != 0 and "key management service failed" in answer.stderr, answer.stderr[-2000:]
    assert not (house.folder / "data" / "keys" / "master").exists()


def test_escrow_brings_the_master_back_without_the_service(house):
    out = house.folder / "master.escrow"
    passphrase = "correct horse battery staple"
    subprocess.run(
        [GRANARY, "key", "export-escrow", "--out", out, "--data-dir", house.folder / "data", "--config", house.config],
        input=passphrase, text=True, check=True, capture_output=True,
        env={**os.environ, "GRANARY_KEYS_KMS_SECRET_ACCESS_KEY": SECRET},
    )
    assert house.run("key", "status", config=False).returncode != 0
    (house.folder / "data" / "keys" / "master").unlink(missing_ok=True)
    subprocess.run(
        [GRANARY, "key", "import-escrow", "--from", out, "--data-dir", house.folder / "data"],
        input=passphrase, text=True, check=True, capture_output=True,
    )
    assert house.ok("key", "status", "--format", "json", config=False)[0]["is_held"]
