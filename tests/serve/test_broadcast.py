"""The thread that encodes, where something goes wrong: nobody waits for ever behind its place in the line."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headrace.results import Version
from headrace.runtime import Run
from headrace.serve.broadcast import Broadcast
from headrace.serve.channel import ChannelKey
from headrace.serve.settings import ServerSettings
from headrace.serve.stamps import Stamper
from headrace.turns import Turns

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Short:
    """A channel with nothing to say, at which memory runs out where it is first asked when it is due."""

    source = "gmv"
    viewers = ()

    def __init__(self, where: str) -> None:
        self.failing = {where}
        self.has_failed = threading.Event()

    def due_at(self) -> float:
        self._perhaps_fail("due_at")
        return float("inf")

    def batches(self, _parts: object, _now: float) -> list[Any]:
        self._perhaps_fail("batches")
        return []

    def _perhaps_fail(self, where: str) -> None:
        if where in self.failing:
            self.failing.clear()
            self.has_failed.set()
            raise MemoryError


@pytest.mark.parametrize("where", ["due_at", "batches"])
def test_an_encoder_short_of_memory_goes_on_and_leaves_its_place(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns()
    run = cast(Run, SimpleNamespace(turns=turns))
    broadcast = Broadcast(run, ServerSettings(), cast(Stamper, None))
    channel = Short(where)
    broadcast._channels = {ChannelKey("gmv"): cast(Any, channel)}
    with turns.turn(1):
        for number in (1, 2):
            broadcast.publish(Version(number, number, NOW, {}), {})
    encoder = threading.Thread(target=broadcast._encode_loop)
    with caplog.at_level(logging.CRITICAL, logger="headrace"):
        encoder.start()
        assert channel.has_failed.wait(30)
        broadcast.close()
        encoder.join(30)
    assert not encoder.is_alive()
    assert not turns.is_taken
    assert turns.waiting == 0


def test_a_place_that_is_taken_is_another_ones_no_more() -> None:
    turns = Turns()
    broadcast = Broadcast(cast(Run, SimpleNamespace(turns=turns)), ServerSettings(), cast(Stamper, None))
    broadcast._channels = {ChannelKey("gmv"): cast(Any, Short("nowhere"))}
    broadcast.publish(Version(1, 1, NOW, {}), {})
    broadcast.publish(Version(2, 2, NOW, {}), {})
    place = broadcast._taken_place()
    assert place is not None
    assert broadcast._taken_place() is None
    turns.leave(place)
    assert not turns.is_taken
