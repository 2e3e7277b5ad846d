"""Live activity: the customers of a world go on living, at a pace of so many rows a second."""

from __future__ import annotations

import heapq
from random import Random

from headrace.solutions.billing.simulate.history import World
from headrace.solutions.billing.simulate.life import ALIVE, Life
from headrace.solutions.billing.simulate.scribe import Subscription

NEWCOMERS_SHARE = 0.18
USAGE_SHARE = 0.2
TRIES_MAX = 10_000
"""Acts of one tick that may come to nothing before it ends."""


class Live:
    """Goes on from a world's history; whatever is due happens, and more on top as the pace asks.

    Args:
        world: with its history.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._draw = Random(f"{world.seed}/live")
        self._due: list[tuple[int, int, Life]] = []
        for number, life in enumerate(world.lives):
            self._remember(life, number)

    def tick(self, now_us: int, rows: int) -> int:
        """Let things happen at a moment until there are so many new rows; return how many there are."""
        before = len(self.world.rows)
        while self._due and self._due[0][0] <= now_us:
            _, number, life = heapq.heappop(self._due)
            life.run(now_us)
            self._remember(life, number)
        for nth in range(TRIES_MAX):
            if len(self.world.rows) - before >= rows:
                break
            self._act(now_us + nth)
        return len(self.world.rows) - before

    def _act(self, at_us: int) -> None:
        lot = self._draw.random()
        if lot < NEWCOMERS_SHARE:
            self._newcomer(at_us)
            return
        number = self._draw.randrange(len(self.world.lives))
        life = self.world.lives[number]
        standing = [sub for sub in life.subscriptions if sub.status in ALIVE]
        if not standing:
            return
        if lot < NEWCOMERS_SHARE + USAGE_SHARE:
            life.meter("api_calls", at_us)
            return
        sub: Subscription = self._draw.choice(standing)
        life.whim(at_us, sub)
        self._remember(life, number)

    def _newcomer(self, at_us: int) -> None:
        world, shop = self.world, self._draw.choice(self.world.shops)
        number = len(world.lives)
        life = Life(shop, 1_000_000 + number, world.seed, at_us, world.rows, world.books)
        life.run(at_us)
        world.lives.append(life)
        self._remember(life, number)

    def _remember(self, life: Life, number: int) -> None:
        if life.due_us is not None:
            heapq.heappush(self._due, (life.due_us, number, life))
