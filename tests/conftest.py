"""What all tests share: Hypothesis profiles, the torture settings, the folder of real data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "torture",
    max_examples=2_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@dataclass(frozen=True)
class Torture:
    """What `make torture SEED=… MINUTES=…` asks for.

    A torture test draws its cases from `seed`, runs at least `cases` of them, and may go on until
    `minutes` have passed.
    """

    seed: int
    minutes: float
    cases: int = 2_000


@pytest.fixture(scope="session")
def torture() -> Torture:
    return Torture(
        seed=int(os.environ.get("HEADRACE_TORTURE_SEED", "1")),
        minutes=float(os.environ.get("HEADRACE_TORTURE_MINUTES", "10")),
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that some machines hold beside the project (`HEADRACE_REAL_DATA`, else `../shared/data`)."""
    folder = Path(os.environ.get("HEADRACE_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the folder of real data is not on this machine")
    return folder
