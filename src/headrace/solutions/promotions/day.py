"""The course of a promotion day: how busy the shop is, what is on sale, what breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOURLY = (3, 2, 1.5, 1.2, 1.2, 1.8, 3, 5, 7, 8.5, 9, 9, 9.5, 8.5, 8, 8, 8.5, 9, 10, 12, 14, 13, 9, 5)
"""Relative traffic at each full hour; between them it moves evenly."""


@dataclass(frozen=True)
class Spell:
    """Something that lasts from one hour of the day to another; `what` is the index of a product, host, …"""

    start_h: float
    end_h: float
    what: int

    def holds(self, hour: float) -> bool:
        """Return whether the hour lies inside."""
        return self.start_h <= hour < self.end_h

    def progress(self, hour: float) -> float:
        """Return how far through the spell the hour is, 0 to 1."""
        return min(1.0, max(0.0, (hour - self.start_h) / (self.end_h - self.start_h)))


@dataclass(frozen=True)
class Mood:
    """The shop at one moment.

    Attributes:
        traffic: relative intensity, 1 in the mean of the day.
        on_sale: index of the product in a flash sale, or None.
        bots: share of the requests that comes from bots.
        failing: index of the failing host, or None.
        failure: how far its failure has come, 0 to 1.
        bursting: index of the service that logs errors in a burst, or None.
    """

    traffic: float
    on_sale: int | None
    bots: float
    failing: int | None
    failure: float
    bursting: int | None


class Day:
    """A seeded day with flash sales, bot attacks, failing hosts and error bursts at plausible hours."""

    def __init__(self, seed: int, products: int, hosts: int, services: int) -> None:
        draw = np.random.default_rng([seed, 1])

        def spells(starts: tuple[float, ...], hours: float, choices: int) -> tuple[Spell, ...]:
            picked = draw.choice(choices, size=len(starts), replace=len(starts) > choices)
            shift = draw.uniform(-0.1, 0.1, size=len(starts))
            return tuple(
                Spell(start + float(by), start + float(by) + hours, int(what))
                for start, by, what in zip(starts, shift, picked, strict=True)
            )

        self.sales = spells((9.6, 12.2, 14.5, 17.2, 20.0, 21.3), 0.7, min(products, 40))
        self.attacks = spells((2.0, 10.4, 15.3, 18.6), 0.8, 5)
        self.failures = spells((10.0, 16.0, 20.1), 1.1, hosts)
        self.bursts = spells((10.5, 13.3, 16.5, 20.6, 22.5), 0.5, services)
        self._mean = float(np.mean(HOURLY))

    def mood(self, hour: float) -> Mood:
        """Return the shop at an hour of the day; hours wrap around at 24."""
        hour %= 24
        traffic = float(np.interp(hour, np.arange(25), (*HOURLY, HOURLY[0]))) / self._mean
        failure = _at(self.failures, hour)
        sale, burst = _at(self.sales, hour), _at(self.bursts, hour)
        return Mood(
            traffic=traffic,
            on_sale=sale.what if sale else None,
            bots=0.3 if _at(self.attacks, hour) else 0.02,
            failing=failure.what if failure else None,
            failure=failure.progress(hour) if failure else 0.0,
            bursting=burst.what if burst else None,
        )


def _at(spells: tuple[Spell, ...], hour: float) -> Spell | None:
    return next((spell for spell in spells if spell.holds(hour)), None)
