"""The parameters of a task: annotations, which become options of the command line."""

import enum
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from ._errors import TaskError

_KINDS = {str: "text", Path: "text", int: "integer", float: "number", bool: "boolean"}


@dataclass
class Parameter:
    """One option `--NAME VALUE`."""

    attribute: str
    name: str
    help: str
    kind: str  # text, integer, number, boolean or choice
    choices: list
    default: object  # as the host writes it: str, int, float, bool or None
    required: bool
    convert: object  # makes what the task sees of what the host gives


def parameters_of(params):
    """The parameters that the annotations of a class `Params` mean."""
    try:
        hints = typing.get_type_hints(params, include_extras=True)
    except NameError as error:
        raise TaskError(f"an annotation of Params has a name that is not there: {error}") from None
    return [_parameter(params, attribute, hint) for attribute, hint in hints.items()]


def values_of(params, arguments):
    """An object of the class `Params` with the values that the host gave."""
    values = object.__new__(params)
    for parameter in parameters_of(params):
        value = arguments.get(parameter.name)
        if value is not None:
            value = parameter.convert(value)
        # Past `__setattr__`, which a frozen dataclass forbids.
        object.__setattr__(values, parameter.attribute, value)
    return values


def _parameter(params, attribute, hint):
    name, help, extras = attribute.strip("_").replace("_", "-"), "", []
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
    default = getattr(params, attribute, None)
    if hasattr(default, "param_decls"):  # `top: int = typer.Option(10, help="…")`
        extras.append(default)
        default = None if default.default is ... else default.default
    for extra in extras:
        if isinstance(extra, str):
            help = extra
        elif hasattr(extra, "param_decls"):  # typer.Option, typer.Argument
            help = extra.help or help
            # Within `Annotated` what would be its default is a flag, too.
            for flag in (extra.default, *(extra.param_decls or ())):
                if isinstance(flag, str) and flag.startswith("--"):
                    name = flag.split("/")[0].strip("- ")
                    break
    help = " ".join(help.split())

    may_miss = default is None and hasattr(params, attribute)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        some = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if len(some) == 1 and len(some) < len(typing.get_args(hint)):
            hint, may_miss = some[0], True

    choices, convert = [], hint
    if typing.get_origin(hint) is typing.Literal and all(
        isinstance(choice, str) for choice in typing.get_args(hint)
    ):
        kind, choices, convert = "choice", list(typing.get_args(hint)), str
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        kind, choices = "choice", [str(choice.value) for choice in hint]
        convert = {str(choice.value): choice for choice in hint}.__getitem__
        default = str(default.value) if isinstance(default, enum.Enum) else default
    elif hint in _KINDS:
        kind = _KINDS[hint]
    else:
        raise TaskError(
            f"the parameter `{attribute}` is of a type that an option cannot have. These it can "
            'have: str, int, float, bool, Path, Literal["a", "b"], an Enum, and each of them '
            "`| None`. For a list take a text, with commas between"
        )

    if isinstance(default, Path):
        default = str(default)
    if kind == "number" and type(default) is int:
        default = float(default)
    if kind == "boolean" and default is None and not may_miss:
        default = False
    expected = {"integer": int, "number": float, "boolean": bool}.get(kind, str)
    if default is not None and type(default) is not expected:
        raise TaskError(
            f"the default of the parameter `{attribute}` is {default!r}, "
            f"which is no {getattr(hint, '__name__', 'such value')}"
        )
    if kind == "choice" and default is not None and default not in choices:
        raise TaskError(f"the default of `{attribute}` is {default!r}, which is no choice of it")
    return Parameter(
        attribute, name, help, kind, choices, default,
        required=default is None and not may_miss, convert=convert,
    )
