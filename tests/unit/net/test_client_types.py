"""Type checkers are told of the Python API what the catalog says, though they cannot read the catalog."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from krakenws import Options, sync
from krakenws.cli import options as cli_options
from krakenws.core.catalog import find
from krakenws.net import client, parameters, stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import TypeAlias

    from krakenws.core.catalog import Entry

    Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

METHODS = {
    "add_order": "addOrder",
    "amend_order": "amendOrder",
    "edit_order": "editOrder",
    "cancel_order": "cancelOrder",
}
NOT_OF_THE_COMMAND = {"self", "intent", "more"}
NOT_IN_PYTHON = {"reqid", "req_id"}
"""Numbers of requests are the client's affair."""


def functions(module: ModuleType, name: str) -> list[Function]:
    """Return every definition of a method of `Client`, overloads among them."""
    body = ast.parse(inspect.getsource(module)).body
    (made,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == "Client")
    return [
        node
        for node in ast.walk(made)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]


def overloads(module: ModuleType) -> list[Function]:
    return [node for node in functions(module, "stream") if node.decorator_list]


def type_of(annotation: ast.expr | None) -> Any:
    """Return the type that an annotation means."""
    assert annotation is not None
    code = compile(ast.Expression(annotation), "", "eval")
    return eval(code, {"Literal": Literal, **vars(parameters)})


def choices(kind: Any) -> set[object]:
    """Return the values of each `Literal[...]` in a type; none if it has none."""
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    return {value for part in get_args(kind) for value in choices(part)}


def is_told(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Hold arguments to the parameters of an entry that have the same names."""
    for argument, kind in arguments.items():
        param = entry.param(argument)
        assert param is not None, f"{entry.name} has no {argument}"
        assert choices(kind) == set(param.choices), f"{entry.name} {argument}"


def test_a_blocking_stream_has_the_types_of_an_async_one() -> None:
    assert [ast.unparse(one) for one in overloads(sync)] == [ast.unparse(one) for one in overloads(client)]


def test_every_channel_has_its_own_overload_with_the_catalog_s_parameters() -> None:
    told = {}
    for overload in overloads(client):
        (_, channel) = overload.args.posonlyargs
        assert overload.args.kwarg is not None
        unpacked = overload.args.kwarg.annotation
        assert isinstance(unpacked, ast.Subscript)
        for name in choices(type_of(channel.annotation)):
            told[str(name)] = get_type_hints(type_of(unpacked.slice)), overload.args.vararg
    assert set(told) == {entry.name for entry in client.ENTRIES if entry.kind == "channel"}
    for name, (arguments, pairs) in told.items():
        entry = find(client.ENTRIES, name)
        assert entry is not None
        own = {key: kind for key, kind in arguments.items() if key not in parameters.Reading.__annotations__}
        is_told(entry, own)
        assert bool(pairs) == bool(entry.pairs)
        known = {param.name for param in entry.params if param is not entry.pairs}
        assert set(own) == known - NOT_IN_PYTHON, name


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_of_an_order_are_the_catalog_s(method: str) -> None:
    entry = find(client.ENTRIES, METHODS[method])
    assert entry is not None
    (function,) = functions(client, method)
    of = function.args
    arguments = [*of.posonlyargs, *of.args, *([of.vararg] if of.vararg else []), *of.kwonlyargs]
    told = {arg.arg: type_of(arg.annotation) for arg in arguments if arg.arg not in NOT_OF_THE_COMMAND}
    if of.kwarg:
        told |= get_type_hints(parameters.MoreOfAnOrder)
    is_told(entry, told)
    named = {param.name.replace("[", "_").rstrip("]") for param in entry.params}
    assert set(told) == named - NOT_IN_PYTHON


def test_what_is_no_parameter_of_the_catalog_has_its_choices_too() -> None:
    assert choices(parameters.Overflow) == set(stream.OVERFLOWS)
    assert choices(parameters.Api) == {entry.api for entry in client.ENTRIES}
    hints = get_type_hints(Options, localns={"Literal": Literal})
    for name in ("book", "overflow"):
        (option,) = (one for one in cli_options.OPTIONS if one.field == name)
        assert choices(hints[name]) == set(option.metavar.split("|"))
