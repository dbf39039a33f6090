"""Reads what a request brings, by the type that its route declares."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError

from control_plane.errors import BadInput, UnsupportedMedia

JSON: Final = "application/json"
_MOST_PROBLEMS: Final = 20
_KINDS: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown",
    "greater_than_equal": "too_small",
    "less_than_equal": "too_big",
    "greater_than": "not_above",
    "less_than": "not_below",
    "string_too_short": "text_too_short",
    "string_too_long": "text_too_long",
    "too_short": "list_too_short",
    "too_long": "list_too_long",
    "literal_error": "not_one_of",
    "enum": "not_one_of",
    "int_parsing": "not_whole",
    "int_parsing_size": "not_whole",
    "int_type": "not_whole",
    "int_from_float": "not_whole",
    "float_parsing": "not_number",
    "float_type": "not_number",
    "finite_number": "not_number",
    "bool_parsing": "not_bool",
    "bool_type": "not_bool",
    "string_type": "not_text",
    "list_type": "not_list",
    "dict_type": "not_object",
    "model_type": "not_object",
    "string_pattern_mismatch": "wrong_form",
    "json_invalid": "no_json",
}
"""pydantic's kinds of errors and ours."""

Model = TypeVar("Model", bound=BaseModel)


class Query(BaseModel):
    """Parameters of a query string; an unknown one is an error, as it would change the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A JSON body; an unknown key is an error, as its sender expects something of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_body(model: type[Model]) -> Model:
    """Read the JSON body of a request; raises UnsupportedMedia, or BadInput naming each field."""
    if request.mimetype != JSON:
        raise UnsupportedMedia(given=request.mimetype or "-", wanted=JSON)
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as exc:
        raise _refusal(exc, "body") from None


def parse_query(model: type[Model]) -> Model:
    """Read the query string; raises BadInput naming each parameter."""
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


def _refusal(error: ValidationError, whole: str) -> BadInput:
    found = error.errors(include_url=False, include_input=False)
    return BadInput([_problem(each, whole) for each in found[:_MOST_PROBLEMS]])


def _problem(found: Mapping[str, Any], whole: str) -> tuple[str, str, Mapping[str, object]]:
    field = ".".join(map(str, found["loc"])) or whole
    kind = _KINDS.get(found["type"], "other")
    facts = {name: str(value)[:200] for name, value in found.get("ctx", {}).items()}
    return field, kind, {**facts, "reason": str(found["msg"])[:200]}
