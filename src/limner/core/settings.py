"""Settings: what a person can choose, stated once. Flags, help, forms and file headers are drawn from these."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from limner.core.errors import UsageError, nearest


class Settings(BaseModel):
    """A frozen set of choices. The string under a field is its help; bounds are in its type.

    A misspelt field is refused with the nearest name (see `read`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _completed(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Where some of a nested field's choices are given, the others are those of this class's own default for it,
        not those of the nested class. They still count as not given."""
        made = handler(values)
        if isinstance(values, Mapping):
            for name, field in cls.model_fields.items():
                part, whole = getattr(made, name), field.default
                if isinstance(values.get(name), Mapping) and isinstance(whole, Settings):
                    given = {choice: getattr(part, choice) for choice in part.model_fields_set}
                    made.__dict__[name] = type(part).model_construct(part.model_fields_set, **{**dict(whole), **given})
        return made

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Settings from plain values, e.g. of a TOML file or a model's header.

        values  names to values; nested settings are nested mappings; a path may stand for a string
        where   what the values come from, for the error
        raises  UsageError   the first wrong field, in one sentence
        """
        plain = {name: fspath(value) if isinstance(value, PathLike) else value for name, value in values.items()}
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise _explained(cls, error, where) from None


_WANTED = {
    "int_parsing": "should be a whole number", "int_type": "should be a whole number",
    "int_from_float": "should be a whole number", "float_parsing": "should be a number",
    "float_type": "should be a number", "bool_parsing": "should be true or false",
    "bool_type": "should be true or false", "path_type": "should be a path", "string_type": "should be text",
    "model_type": "should be settings by name", "dict_type": "should be settings by name",
}  # fmt: skip
"""Plain words for those of pydantic's that are not."""


def _explained(cls: type[Settings], error: ValidationError, where: str) -> UsageError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    name, place = ".".join(path), f" in {where}" if where else ""
    if first["type"] == "extra_forbidden":
        return UsageError(f"unknown setting '{name}'{place}", nearest(path[-1], _names_at(cls, path[:-1])))
    if first["type"] == "missing" and path[-1].isdecimal():
        more = f"setting '{path[0]}'{place} takes {int(path[-1]) + 1} values, with a comma between"
        return UsageError(more, "see --help for what it takes")
    if first["type"] == "missing":
        return UsageError(f"setting '{name}' is missing{place}", f"give --{name.replace('_', '-')}")
    if first["type"] in ("too_short", "too_long"):
        there = first["ctx"]["actual_length"]
        bound = "at least" if first["type"] == "too_short" else "at most"
        needed = first["ctx"]["min_length" if first["type"] == "too_short" else "max_length"]
        many = f"{needed} value{'s' * (needed != 1)}"
        return UsageError(f"setting '{name}'{place} takes {bound} {many}, and got {there}",
                          "see --help for what it takes")  # fmt: skip
    wanted = _WANTED.get(first["type"]) or first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    saw = repr(first["input"])
    saw = saw if len(saw) <= 80 else f"{saw[:79]}…"
    return UsageError(f"setting '{name}'{place}: {wanted}, not {saw}", "see --help for what it takes")


def _names_at(cls: type[Settings], path: list[str]) -> list[str]:
    here: Any = cls
    for part in path:
        here = here.model_fields[part].annotation
    return list(here.model_fields)
