"""Answer types that are a value of the domain and something more."""

import dataclasses
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model


def fields_of(kind: type) -> Any:
    """Return a model with the fields of a dataclass, to be inherited from; all of them are sent.

    A type checker cannot follow this, so whoever inherits says ``type: ignore[misc]``.
    """
    hints = get_type_hints(kind, include_extras=True)
    made: dict[str, Any] = {each.name: (hints[each.name], ...) for each in dataclasses.fields(kind)}
    return create_model(f"{kind.__name__}Fields", __base__=BaseModel, **made)
