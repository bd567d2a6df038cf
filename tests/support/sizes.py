"""How much memory an object holds."""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType


def bytes_held_by(thing: object) -> int:
    """Return the size of an object and of all that it keeps alive, code left out."""
    seen: dict[int, object] = {}
    found = [thing]
    while found:
        one = found.pop()
        if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
            seen[id(one)] = one
            found += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))
