"""Tokens and enrolment with cryptography that is not ours: our tokens are checked by the published keys, a control plane signs its own."""

import base64
import json
import os
import time
import urllib.error
import urllib.request

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

URL = os.environ["GRANARY_URL"]


def written(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def call(method, path, bearer=None, body=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def test_a_token_is_checked_by_the_published_key():
    status, token = call("POST", "/api/v1/tokens", os.environ["GRANARY_KEY"], {"permissions": ["usage.read"]})
    assert status == 201, token
    header, payload, signature = token["access_token"].split(".")
    kid = json.loads(read(header))["kid"]
    _, published = call("GET", "/.well-known/jwks.json")
    key = next(key for key in published["keys"] if key["kid"] == kid)
    public = Ed25519PublicKey.from_public_bytes(read(key["x"]))
    public.verify(read(signature), f"{header}.{payload}".encode())
    claims = json.loads(read(payload))
    assert claims["iss"] == token["issuer"] and claims["aud"] == token["audience"]
    assert 0 < claims["exp"] - time.time() <= 600
    with pytest.raises(InvalidSignature):
        public.verify(read(signature), f"{header}.{payload}x".encode())
    assert call("GET", "/api/v1/msp/customers/ACME", token["access_token"])[0] == 200


def test_a_control_plane_enrols_a_key_of_its_own():
    manager = os.environ["GRANARY_KEY"]
    _, planes = call("GET", "/api/v1/msp/customers/ACME/control-planes", manager)
    plane = planes["control_planes"][0]
    path = f"/api/v1/msp/customers/ACME/control-planes/{plane['id']}"
    status, made = call("POST", f"{path}/enrolment", manager, {"reason": "a test"})
    assert status == 201, made
    private = Ed25519PrivateKey.generate()
    body = {
        "code": made["code"],
        "public_key": written(private.public_key().public_bytes_raw()),
        "proof": written(private.sign(b"granary enrolment " + made["code"].encode())),
    }
    status, enrolled = call("POST", "/api/v1/enrolments", body=body)
    assert status == 201, enrolled

    now = int(time.time())
    header = {"alg": "EdDSA", "typ": "plane+jwt", "kid": enrolled["key_id"]}
    claims = {"iss": enrolled["control_plane_id"], "aud": enrolled["audience"], "iat": now, "nbf": now, "exp": now + 120}
    signed = f"{written(json.dumps(header).encode())}.{written(json.dumps(claims).encode())}"
    bearer = f"{signed}.{written(private.sign(signed.encode()))}"
    event = {
        "specversion": "1.0", "source": enrolled["source"], "id": f"enrolled-{now}", "type": "machine.protected",
        "time": "2025-10-01T12:00:00Z",
        "data": {"source_system": "veeam", "vendor_id": "vm-enrolled", "name": "enrolled", "tier": "backup", "from": "2025-10-01"},
    }
    status, report = call("POST", "/api/v1/usage/events", bearer, [event])
    assert (status, report["accepted"]) == (200, 1), report
    assert call("GET", "/api/v1/msp/customers/ACME", bearer)[0] == 403
    assert call("POST", f"{path}/revoke", manager, {"reason": "a test"})[0] == 200
    assert call("POST", "/api/v1/usage/events", bearer, [event])[0] == 401
