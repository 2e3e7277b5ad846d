"""One process that forks lives, for all tests that kill them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.lives import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    found = Zygote()
    yield found
    found.close()
