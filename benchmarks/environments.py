"""Rivals' environments: each made when first needed, from hash-pinned requirements, and never ours.

They live in `.rivals` beside this file, which git ignores; `requirements/NAME.txt` says what is in one, and a
changed list makes it anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
_FOLDER = HERE / ".rivals"
_INSTALL_S = 600.0
"""One of them is compiled here."""


class AbsentError(Exception):
    """A contestant cannot take part; the text says why."""


class Environments:
    """Where rivals are installed.

    Args:
        enabled: False: there are none, so that what is measured depends on nothing but our own environment.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._failed: dict[str, AbsentError] = {}

    def program(self, environment: str, name: str = "python") -> str:
        """Return the path of a program of an environment, which is made first where it is missing.

        Making one needs a package index.

        Raises:
            AbsentError: it is not installed and cannot be.
        """
        if not self._enabled:
            raise AbsentError(f"{environment} is left out")
        if environment in self._failed:
            raise self._failed[environment]
        home, wanted = _FOLDER / environment, HERE / "requirements" / f"{environment}.txt"
        made_from = home / "made-from.txt"
        if not made_from.exists() or made_from.read_bytes() != wanted.read_bytes():
            try:
                self._make(environment, home, wanted)
            except AbsentError as error:
                self._failed[environment] = error
                raise
            shutil.copy(wanted, made_from)
        return str(home / "bin" / name)

    def _make(self, environment: str, home: Path, wanted: Path) -> None:
        print(f"installing {environment} in {home} …", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        for argv in (
            [sys.executable, "-m", "venv", str(home)],
            [*pip, "--require-hashes", "--requirement", str(wanted)],
        ):
            try:
                subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
            except (OSError, subprocess.SubprocessError) as error:
                told = getattr(error, "stderr", None) or str(error)
                raise AbsentError(
                    f"{environment} cannot be installed: {told.strip().splitlines()[-1]}"
                ) from None
