"""Frozen dataclasses from plain mappings (YAML, JSON) and back, with the path of every mistake.

Used for params.yaml, for card.json and for the forms of the service, so that a recipe is parsed in one place only.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import InputError, ParamsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def from_record(cls: type[T], values: object, *, path: str) -> T:
    """An instance of the dataclass `cls` from nested mappings and lists.

    path: where the values stand, e.g. "recipes.viability". Raises ParamsError whose message starts with the path of the
    value at fault: unknown key (with the nearest known one), missing key, wrong type, or what the class itself refuses.
    """
    if not isinstance(values, Mapping):
        raise ParamsError(f"{path}: expected a mapping, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            raise ParamsError(f"{path}.{key}: unknown key" + (f", did you mean '{near[0]}'?" if near else
                                                             f"; known: {', '.join(fields)}"))
    missing = [name for name, field in fields.items() if name not in values and field.default is dataclasses.MISSING
               and field.default_factory is dataclasses.MISSING]
    if missing:
        raise ParamsError(f"{path}.{missing[0]}: missing; it has no default")
    hints = _hints(cls)
    arguments = {name: _convert(hints[name], value, f"{path}.{name}") for name, value in values.items()}
    try:
        return cls(**arguments)
    except (ValueError, InputError) as error:
        raise ParamsError(f"{path}.{error}") from None


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of the fields; working them out anew takes most of the time of reading a record."""
    return typing.get_type_hints(cls)


def six_digits(value: float) -> float:
    """The value to six digits: what a card need not hold does not make its hash."""
    return float(f"{value:.6g}")


def to_record(value: Any) -> Any:
    """Plain mappings, lists and scalars; `from_record` reads them back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_record(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_record(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_record(item) for item in value]
    return value


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_record(typing.cast(type, hint), value, path=path)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert_union([item for item in arguments if item is not type(None)], value, path)
    if origin is tuple:
        return _convert_tuple(arguments, value, path)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ParamsError(f"{path}: expected a mapping, got {value!r}")
        return {str(key): _convert(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    return _scalar(hint, value, path)


def _convert_union(hints: list[Any], value: Any, path: str) -> Any:
    """The value as the first of the types that takes it; the first type's complaint if none does."""
    refusals = []
    for hint in hints:
        try:
            return _convert(hint, value, path)
        except ParamsError as error:
            refusals.append(error)
    raise refusals[0]


def _convert_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ParamsError(f"{path}: expected a list, got {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if len(value) != len(arguments):
        raise ParamsError(f"{path}: expected {len(arguments)} values, got {len(value)}")
    return tuple(_convert(hint, item, f"{path}[{index}]") for index, (hint, item) in enumerate(zip(arguments, value, strict=True)))


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise ParamsError(f"{path}: must be one of {', '.join(map(str, typing.get_args(hint)))}, got {value!r}")
        return value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):  # YAML 1.1 reads 1e-7 as text
        try:
            return float(value)
        except (ValueError, OverflowError):     # 400 digits are an int, and no float
            pass
    if (hint in (int, str, bool) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool)))) or hint is float:
        raise ParamsError(f"{path}: expected {_WORDS[hint]}, got {value!r}")
    return value
