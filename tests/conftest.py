"""What all tests share: Hypothesis profiles, the torture settings, the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.torture import Torture, TorturePlugin

__all__ = ["ROOT", "Torture"]

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


def pytest_configure(config: pytest.Config) -> None:
    """Make the fixture `torture` and its account known."""
    config.pluginmanager.register(TorturePlugin())


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
