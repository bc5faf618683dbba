"""The description of the API by a validator that is not ours: the document against OpenAPI 3.1, its examples against its schemas."""

import json
import os
import urllib.request

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR


@pytest.fixture(scope="module")
def document():
    with urllib.request.urlopen(os.environ["GRANARY_URL"] + "/api/v1/openapi.json") as answer:
        return json.load(answer)


def bodies(document):
    """Every example of a body with its schema and where it stands."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            places = {"request": operation.get("requestBody", {})} | operation["responses"]
            for name, place in places.items():
                for kind, media in place.get("content", {}).items():
                    if "example" in media:
                        yield f"{method} {path} {name} {kind}", media["schema"], media["example"]


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    OPENAPI_31_VALIDATOR.validate(document)


def test_every_example_fits_its_schema(document):
    found = list(bodies(document))
    assert len(found) > 40
    misfits = []
    for name, schema, example in found:
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)
        misfits += [f"{name}: {error.instance_path} {error.message}" for error in validator.iter_errors(example)]
    assert misfits == []


def test_what_does_not_fit_is_seen(document):
    validator = jsonschema_rs.Draft202012Validator(
        {"$ref": "#/components/schemas/CustomerIn", "components": document["components"]}, validate_formats=True
    )
    assert not validator.is_valid({"company_name": "", "customer_code": "ACME"})
    assert validator.is_valid({"company_name": "ACME Inc.", "customer_code": "ACME"})
