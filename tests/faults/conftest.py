"""What tests of faults share with end-to-end tests."""

from __future__ import annotations

from tests.e2e.conftest import certificates, krakenws

__all__ = ["certificates", "krakenws"]
