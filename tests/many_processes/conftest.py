"""What the checks of many processes share."""

from __future__ import annotations

import pytest
from programs import Bench


@pytest.fixture
def bench(tmp_path):
    """A folder with a home of its own."""
    return Bench(tmp_path)
