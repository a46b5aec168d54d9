"""The OpenAPI document that is derived from config.json."""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from custom_image.model_config import parse_model_config
from custom_image.model_config.openapi import FILE, to_openapi

CONFIG = {
    "model_algorithm": "image_classification",
    "model_type": "Image",
    "apis": [
        {
            "url": "/",
            "method": "POST",
            "request": {
                "Content-type": "multipart/form-data",
                "data": {
                    "type": "object",
                    "properties": {
                        "images": {"type": "file", "description": "a digit"},
                        "more": {"type": "array", "items": [{"type": "file"}]},
                    },
                },
            },
            "response": {
                "Content-type": "application/json",
                "data": {"type": "object", "properties": {"mnist_result": {"type": "integer"}}},
            },
        },
        {
            "url": "/",
            "method": "get",
            "request": {
                "Content-type": "application/json",
                "data": {
                    "type": "object",
                    "required": ["age"],
                    "properties": {"age": {"type": "integer"}, "name": {"type": "string"}},
                },
            },
        },
        {"url": "/plain", "method": "post"},
    ],
    "health": {"check_method": "HTTP", "url": "/health"},
}


def convert(config):
    return to_openapi(parse_model_config(json.dumps(config), "config.json"))


def test_every_api_and_the_health_check_become_operations():
    paths = convert(CONFIG)["paths"]

    assert {(url, method) for url, found in paths.items() for method in found} == {
        ("/", "post"),
        ("/", "get"),
        ("/plain", "post"),
        ("/health", "get"),
    }


def test_a_file_becomes_a_binary_part_wherever_it_stands():
    content = convert(CONFIG)["paths"]["/"]["post"]["requestBody"]["content"]

    properties = content["multipart/form-data"]["schema"]["properties"]
    assert properties["images"] == {**FILE, "description": "a digit"}
    assert properties["more"] == {"type": "array", "prefixItems": [FILE]}


def test_a_get_has_parameters_instead_of_a_body():
    operation = convert(CONFIG)["paths"]["/"]["get"]

    assert "requestBody" not in operation
    assert [(p["name"], p["in"], p["required"]) for p in operation["parameters"]] == [
        ("age", "query", True),
        ("name", "query", False),
    ]


def test_the_declared_answer_is_the_schema_of_200():
    responses = convert(CONFIG)["paths"]["/"]["post"]["responses"]

    schema = responses["200"]["content"]["application/json"]["schema"]
    assert schema["properties"] == {"mnist_result": {"type": "integer"}}
    assert set(responses) == {"200", "default"}


def test_all_schemas_are_json_schema():
    def schemas(value):
        if isinstance(value, dict):
            for name, member in value.items():
                if name == "schema":
                    yield member
                yield from schemas(member)
        elif isinstance(value, list):
            for member in value:
                yield from schemas(member)

    found = list(schemas(convert(CONFIG)))

    assert len(found) == 12
    for schema in found:
        Draft202012Validator.check_schema(schema)


def test_a_health_check_by_command_is_no_operation():
    config = {**CONFIG, "health": {"check_method": "EXEC", "command": "cat /tmp/well"}}

    assert "/health" not in convert(config)["paths"]
