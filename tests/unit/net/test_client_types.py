"""Type checkers are told of the Python API what the catalog says, though they cannot read the catalog."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

import pytest

from krakenws import sync
from krakenws.core.catalog import find
from krakenws.net import client

if TYPE_CHECKING:
    from types import ModuleType
    from typing import TypeAlias

    Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

METHODS = {
    "add_order": "addOrder",
    "amend_order": "amendOrder",
    "edit_order": "editOrder",
    "cancel_order": "cancelOrder",
}
NOT_OF_THE_COMMAND = {"self", "intent", "more"}


def read(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def functions(module: ModuleType, name: str) -> list[Function]:
    """Return every definition of a method of `Client`, overloads among them."""
    (made,) = (node for node in read(module).body if isinstance(node, ast.ClassDef) and node.name == "Client")
    return [
        node
        for node in ast.walk(made)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]


def overloads(module: ModuleType) -> list[Function]:
    return [node for node in functions(module, "stream") if node.decorator_list]


def choices(annotation: ast.expr | None) -> tuple[object, ...]:
    """Return the values of `Literal[...]`, with or without `| None`; () for any other type."""
    for node in ast.walk(annotation) if annotation else ():
        if isinstance(node, ast.Name) and node.id in {"Side", "OrderType"}:
            return choices(alias(node.id))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            found = ast.literal_eval(node.slice)
            return found if isinstance(found, tuple) else (found,)
    return ()


def alias(name: str) -> ast.expr:
    (value,) = (
        node.value
        for node in ast.walk(read(client))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
    )
    assert value is not None
    return value


def arguments_of(function: Function) -> list[ast.arg]:
    of = function.args
    return [*of.posonlyargs, *of.args, *([of.vararg] if of.vararg else []), *of.kwonlyargs]


def test_a_blocking_stream_has_the_types_of_an_async_one() -> None:
    assert [ast.unparse(one) for one in overloads(sync)] == [ast.unparse(one) for one in overloads(client)]


def test_every_channel_has_its_own_overload_with_the_catalog_s_parameters() -> None:
    told = {}
    for overload in overloads(client):
        (_, channel) = overload.args.posonlyargs
        for name in choices(channel.annotation):
            told[name] = {arg.arg: choices(arg.annotation) for arg in overload.args.kwonlyargs}
    assert set(told) == {entry.name for entry in client.ENTRIES if entry.kind == "channel"}
    for name, arguments in told.items():
        entry = find(client.ENTRIES, str(name))
        assert entry is not None
        for argument in arguments.keys() - {"overflow", "max_events"}:
            param = entry.param(argument)
            assert param is not None, f"{name} has no {argument}"
            assert arguments[argument] == param.choices, f"{name} {argument}"


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_of_an_order_are_the_catalog_s(method: str) -> None:
    entry = find(client.ENTRIES, METHODS[method])
    assert entry is not None
    (function,) = functions(client, method)
    for argument in arguments_of(function):
        if argument.arg not in NOT_OF_THE_COMMAND:
            param = entry.param(argument.arg)
            assert param is not None, f"{method} has no {argument.arg}"
            if told := choices(argument.annotation):
                assert told == param.choices, f"{method} {argument.arg}"
