"""Kraken's WebSocket API at the command line and in Python.

The public names of the Python API are in `public.py`, so that the command line does not pay for them;
`docs/python.md` introduces them.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    from krakenws.public import NAMES, load

    value = NAMES if name == "__all__" else load(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from krakenws.public import NAMES

    return sorted({*globals(), *NAMES})
