"""Frozen records without the price of `dataclasses` (15 ms of a 26 ms `ping`).

A class decorated with `record` gets an `__init__` from its annotations (positional or by keyword, defaults
as class attributes), equality, a readable `repr`, and refuses assignment. Type checkers see a frozen
dataclass. A class that is made on the way of an order or a frame writes its own `__init__`, into `__dict__`:
that takes a third of the time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from functools import cached_property as cached_property  # noqa: PLC0414 - others take it from here
    from typing import TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    class cached_property:  # noqa: N801 - what it stands in for
        """`functools.cached_property`, which would be a fifth of the time of `--help` to import."""

        def __init__(self, work):  # noqa: ANN001, ANN204
            self._work = work

        def __get__(self, item, owner=None):  # noqa: ANN001, ANN204
            if item is None:
                return self
            value = item.__dict__[self._work.__name__] = self._work(item)
            return value

    def dataclass_transform(**_: object):  # noqa: ANN201, D103
        return lambda function: function


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make `cls` a frozen record of its annotated fields, those of its bases first."""
    names: tuple[str, ...] = tuple(
        dict.fromkeys(
            name for base in reversed(cls.__mro__) for name in base.__dict__.get("__annotations__", ())
        )
    )
    count = len(names)
    required = frozenset(name for name in names if not hasattr(cls, name))
    least = max((at for at, name in enumerate(names, 1) if name in required), default=0)

    def __init__(self: T, *values: object, **named: object) -> None:  # noqa: N807
        if not named and least <= len(values) <= count:  # nothing can be wrong
            self.__dict__.update(zip(names, values, strict=False))
            return
        if len(values) > count:
            raise TypeError(f"{cls.__name__} takes {count} values, not {len(values)}")
        state = dict(zip(names, values, strict=False))
        for name, value in named.items():
            if name not in names or name in state:
                raise TypeError(f"{cls.__name__} has no field {name!r}, or was given it twice")
            state[name] = value
        if len(state) < count and not required <= state.keys():
            missing = next(name for name in names if name in required - state.keys())
            raise TypeError(f"{cls.__name__} needs a value for {missing!r}")
        self.__dict__.update(state)

    def __setattr__(_self: T, name: str, _value: object) -> None:  # noqa: N807
        raise AttributeError(f"{cls.__name__} is frozen: {name!r} cannot be set")

    def __delattr__(_self: T, name: str) -> None:  # noqa: N807
        raise AttributeError(f"{cls.__name__} is frozen: {name!r} cannot be deleted")

    def __eq__(self: T, other: object) -> bool:  # noqa: N807
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in names
        )

    def __hash__(self: T) -> int:  # noqa: N807
        return hash((cls, *(getattr(self, name) for name in names)))

    def __repr__(self: T) -> str:  # noqa: N807
        return f"{cls.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    for method in (__init__, __setattr__, __delattr__, __eq__, __hash__, __repr__):
        name = method.__name__
        if name not in {"__init__", "__repr__"} or name not in cls.__dict__:
            setattr(cls, name, method)
    setattr(cls, "__match_args__", names)  # noqa: B010
    return cls


def replace(item: T, **changes: object) -> T:
    """Return a copy of a record with some fields changed."""
    names: tuple[str, ...] = item.__match_args__  # type: ignore[attr-defined]  # what `record` made has them
    copy = object.__new__(type(item))
    before, state = item.__dict__, copy.__dict__
    for name in names:  # and nothing else: what was found out from the old values is not true of the new
        if name in changes:
            state[name] = changes.pop(name)
        elif name in before:
            state[name] = before[name]
    if changes:
        raise TypeError(f"{type(item).__name__} has no field {next(iter(changes))!r}")
    return copy
