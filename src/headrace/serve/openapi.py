"""`/openapi.json`: made of the operations, their models, and the columns of what the app declares."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from headrace import __version__
from headrace.contracts.column_list import parse_columns
from headrace.contracts.encode import json_schema
from headrace.named_queries import NamedQuery
from headrace.query_parts import QueryParameter
from headrace.relations import RelationInfo
from headrace.runtime import Run
from headrace.serve.answers import JSON, NDJSON
from headrace.serve.models import MODELS
from headrace.serve.operations import OPERATIONS, Operation, Parameter

_REF = "#/components/schemas/"
_HEADERS = {
    "Headrace-Version": {"schema": {"type": "integer"}, "description": "The version that was read."},
    "Headrace-Watermark": {"schema": {"type": "string"}, "description": "Smallest watermark, UTC."},
    "Headrace-Freshness-Ms": {"schema": {"type": "number"}, "description": "How old the answer is."},
}


def openapi(run: Run) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a run's server."""
    _, defined = models_json_schema(
        [(model, "serialization") for model in MODELS], ref_template=_REF + "{model}"
    )
    schemas: dict[str, Any] = dict(defined["$defs"])
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation)
    infos = run.relations()
    for info in infos:
        schemas[row_name(info)] = json_schema(info.schema)
        paths.update(paths_of(info))
    for query in run.app.named_queries.values():
        paths[f"/v1/queries/{query.name}"] = {"get": asking(query)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": run.app.name,
            "version": __version__,
            "description": "Streams, tables and SQL views that are kept exactly right as the data arrives.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def described(operation: Operation) -> dict[str, Any]:
    """Return one operation for the document."""
    body: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *(_parameter(one) for one in operation.parameters)],
        "responses": {"200": _answer(operation), **_errors(operation.errors)},
    }
    if operation.about:
        body["description"] = operation.about
    if operation.body:
        content = {kind: dict(facts) for kind, facts in operation.body.items()}
        body["requestBody"] = {"required": True, "content": content}
    return body


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    if "{name}" in operation.path:
        yield {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(one: Parameter) -> dict[str, Any]:
    return {"name": one.name, "in": one.place, "description": one.about, "schema": dict(one.schema)}


def _answer(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for kind in operation.formats:
        if kind == JSON and operation.answer is not None:
            content[kind] = {"schema": {"$ref": _REF + operation.answer.__name__}}
        else:
            content[kind] = {"schema": {"type": "string"}}
    stamped = operation.path.startswith("/v1/")
    return {
        "description": operation.summary,
        "content": content,
        **({"headers": _HEADERS} if stamped else {}),
    }


def _errors(statuses: Iterable[int]) -> dict[str, Any]:
    body = {JSON: {"schema": {"$ref": _REF + "ErrorAnswer"}}}
    every = sorted({401, 403, *statuses})
    return {str(code): {"description": HTTPStatus(code).phrase, "content": body} for code in every}


def row_name(info: RelationInfo) -> str:
    """Return the name of the schema of a relation's row."""
    return f"row.{info.name}"


def paths_of(info: RelationInfo) -> dict[str, Any]:
    """Return the paths of one relation, with its own columns: what a client generator wants to read."""
    row = {"$ref": _REF + row_name(info)}
    by_path = {operation.path: operation for operation in OPERATIONS}
    paths: dict[str, Any] = {}
    reading = _named(by_path["/v1/views/{name}"], info)
    answer = reading["responses"]["200"]["content"][JSON]
    own = {"type": "object", "properties": {"rows": {"type": "array", "items": row}}}
    reading["responses"]["200"]["content"][JSON] = {"schema": {"allOf": [answer["schema"], own]}}
    paths[f"/v1/views/{info.name}"] = {"get": reading}
    verbs = {
        "stream": ("/v1/streams/{name}",),
        "table": ("/v1/tables/{name}/upsert", "/v1/tables/{name}/delete"),
    }
    for template in verbs.get(info.kind, ()):
        writing = _named(by_path[template], info)
        taken = writing["requestBody"]["content"]
        taken[JSON] = {"schema": {"oneOf": [row, {"type": "array", "items": row}]}}
        taken[NDJSON] = {"schema": {"type": "string", "description": "One row a line."}}
        if template.endswith("delete") and info.key:
            keys = {"type": "object", "required": list(info.key)}
            taken[JSON] = {"schema": {"oneOf": [keys, {"type": "array", "items": keys}]}}
        paths[template.replace("{name}", info.name)] = {"post": writing}
    return paths


def asking(query: NamedQuery) -> dict[str, Any]:
    """Return the operation that asks a named query, with its own parameters and what they are held to."""
    operation = next(one for one in OPERATIONS if one.path == "/v1/queries/{name}")
    facts = _named(operation, query)
    facts["summary"] = f"The answer of the named query {query.name}"
    facts["description"] = " ".join(filter(None, (query.help, operation.about)))
    doors = [one for one in facts["parameters"] if one["name"] != "parameter"]
    facts["parameters"] = [*(_wanted(one) for one in query.parameters), *doors]
    return facts


def _wanted(one: QueryParameter) -> dict[str, Any]:
    row = json_schema(parse_columns(f"it {one.type} NOT NULL"))
    schema, about = dict(row["properties"]["it"]), one.help
    read = json.loads if schema.get("type") in ("integer", "boolean") else str
    if one.choices and one.choices_of is None:
        schema["enum"] = [read(choice) for choice in one.choices]
    elif one.choices_of is not None:
        known = f"{', '.join(one.choices)}, or " if one.choices else ""
        about = f"{about} ({known}what /v1/queries/{one.choices_of} answers)".strip()
    if one.least is not None:
        about = f"{about} ({one.least} to {one.most})".strip()
    if one.default is not None:
        schema["default"] = read(one.default)
    return {
        "name": one.name,
        "in": "query",
        "required": one.is_required,
        "description": about,
        "schema": schema,
    }


def _named(operation: Operation, named: RelationInfo | NamedQuery) -> dict[str, Any]:
    facts = described(operation)
    facts["operationId"] = f"{operation.id}__{named.name}"
    facts["parameters"] = [one for one in facts["parameters"] if one["in"] != "path"]
    facts["tags"] = [named.name]
    return facts
