"""What tests of faults share with end-to-end tests, and with one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import certificates, krakenws
from tests.faults.scene import run_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.scene import Sandbox

__all__ = ["certificates", "krakenws", "sandbox"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One exchange for all rows of a worker: they are played one after the other, and leave it well."""
    with run_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running
