"""The fault matrix: every row of every part."""

from __future__ import annotations

from tests.faults.rows.books import BOOKS
from tests.faults.rows.connecting import CONNECTING
from tests.faults.rows.consumer import CONSUMER, RESOURCES
from tests.faults.rows.private import PRIVATE
from tests.faults.rows.streaming import STREAMING
from tests.faults.rows.time import TIME

GROUPS = (CONNECTING, STREAMING, BOOKS, PRIVATE, CONSUMER, RESOURCES, TIME)
ROWS = [row for group in GROUPS for row in group.rows]
