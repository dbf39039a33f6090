"""Reads what a request brings, by the type that its route declares."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError

from control_plane.errors import BadRequest

Model = TypeVar("Model", bound=BaseModel)


class Query(BaseModel):
    """Parameters of a query string; an unknown one is an error, as it would change the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A JSON body; an unknown key is an error, as its sender expects something of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_body(model: type[Model]) -> Model:
    """Read the JSON body of a request; raises BadRequest naming the field and the reason."""
    if request.mimetype != "application/json":
        raise BadRequest(reason="the body must be application/json")
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as exc:
        raise _refusal(exc, "body") from None


def parse_query(model: type[Model]) -> Model:
    """Read the query string; raises BadRequest naming the parameter and the reason."""
    try:
        return model.model_validate(_arguments(model))
    except ValidationError as exc:
        raise _refusal(exc, "query") from None


def _arguments(model: type[BaseModel]) -> Mapping[str, Any]:
    lists = {
        field.alias or name
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) in (list, tuple)
    }
    return {name: values if name in lists else values[0] for name, values in request.args.lists()}


def _refusal(error: ValidationError, whole: str) -> BadRequest:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or whole
    return BadRequest(reason=f"{where}: {first['msg']}")
