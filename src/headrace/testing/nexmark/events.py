"""The events: 1 person, 3 auctions and 46 bids in every 50, each a function of its number and the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

FIRST_ID = 1000
IN_FLIGHT_AUCTIONS = 100
ACTIVE_PEOPLE = 1000
ID_LEAD = 10
HOT_BATCH = 100
CHANNELS = 10_000
EPOCH_US = 1_436_918_400_000_000
"""2015-07-15 00:00 UTC, the published start."""
HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
CITIES = ("Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle")
FIRST_NAMES = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
LAST_NAMES = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")


@dataclass(frozen=True)
class Events:
    """A range of the event sequence, by kind, each in event order.

    Attributes:
        person, auction, bid: the rows; `date_time` is a TIMESTAMP (us, UTC).
        count: events in all.
    """

    person: pa.RecordBatch
    auction: pa.RecordBatch
    bid: pa.RecordBatch
    count: int


class Chance:
    """Random numbers by event number: one stream of draws per seed and purpose."""

    def __init__(self, numbers: Ints, seed: int) -> None:
        self._base = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        self._draws = 0

    def bits(self) -> npt.NDArray[np.uint64]:
        """Return 64 random bits per event (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
        self._draws += 1
        x = self._base + np.uint64(self._draws * 0xD1B54A32D192ED03 % 2**64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    def below(self, bound: int | Ints) -> Ints:
        """Return integers in [0, bound)."""
        return (self.unit() * bound).astype(np.int64)

    def unit(self) -> npt.NDArray[np.float64]:
        """Return numbers in [0, 1)."""
        return (self.bits() >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def make_events(first: int, count: int, *, rate_per_s: int = 100_000, seed: int = 1) -> Events:
    """Return events `first` to `first + count - 1`.

    Args:
        first: number of the first event, from 0.
        count: how many.
        rate_per_s: events per second of event time.
        seed: another seed, another auction house.
    """
    numbers = np.arange(first, first + count, dtype=np.int64)
    place = numbers % 50
    at_us = EPOCH_US + numbers * 1_000_000 // rate_per_s
    is_person, is_auction = place == 0, (place >= 1) & (place <= 3)
    is_bid = place > 3
    return Events(
        _people(numbers[is_person], at_us[is_person], seed),
        _auctions(numbers[is_auction], at_us[is_auction], rate_per_s, seed),
        _bids(numbers[is_bid], at_us[is_bid], seed),
        count,
    )


def _last_person(numbers: Ints) -> Ints:
    return numbers // 50


def _last_auction(numbers: Ints) -> Ints:
    epoch, place = numbers // 50, numbers % 50
    return np.where(place < 1, (epoch - 1) * 3 + 2, epoch * 3 + np.minimum(place - 1, 2))


def _some_person(numbers: Ints, chance: Chance) -> Ints:
    people = _last_person(numbers) + 1
    active = np.minimum(people, ACTIVE_PEOPLE)
    return people - active + chance.below(active + ID_LEAD)


def _some_auction(numbers: Ints, chance: Chance) -> Ints:
    last = _last_auction(numbers)
    oldest = np.maximum(last - IN_FLIGHT_AUCTIONS, 0)
    return oldest + chance.below(last - oldest + 1 + ID_LEAD)


def _price(chance: Chance) -> Ints:
    return np.round(10.0 ** (chance.unit() * 6.0) * 100.0).astype(np.int64)


def _words(values: tuple[str, ...], picked: Ints) -> pa.Array:
    return pa.array(values).take(pa.array(picked))


def _times(at_us: Ints) -> pa.Array:
    return pa.array(at_us).cast(pa.timestamp("us"))


def _extra(chance: Chance, least: int, most: int) -> pa.Array:
    """Return filler text of `least` to `most` letters: slices of one long random text."""
    pool = np.frombuffer(
        np.random.default_rng(7).integers(97, 123, 1 << 16, dtype=np.uint8).tobytes(), np.uint8
    )
    lengths = least + chance.below(most - least + 1)
    starts = chance.below(len(pool) - most - 1)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    positions = np.repeat(starts - offsets[:-1], lengths) + np.arange(int(offsets[-1]))
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(pool[positions]))


def _people(numbers: Ints, at_us: Ints, seed: int) -> pa.RecordBatch:
    chance = Chance(numbers, seed)
    name = _joined(
        _words(FIRST_NAMES, chance.below(len(FIRST_NAMES))),
        _words(LAST_NAMES, chance.below(len(LAST_NAMES))),
        " ",
    )
    return pa.record_batch(
        {
            "id": _last_person(numbers) + FIRST_ID,
            "name": name,
            "email_address": _joined(_extra(chance, 7, 7), _extra(chance, 5, 5), "@"),
            "credit_card": pa.array([f"{v:016d}" for v in chance.below(10**16)]),
            "city": _words(CITIES, chance.below(len(CITIES))),
            "state": _words(STATES, chance.below(len(STATES))),
            "date_time": _times(at_us),
            "extra": _extra(chance, 80, 120),
        }
    )


def _joined(left: pa.Array, right: pa.Array, between: str) -> pa.Array:
    return pc.binary_join_element_wise(left, right, between)


def _auctions(numbers: Ints, at_us: Ints, rate_per_s: int, seed: int) -> pa.RecordBatch:
    chance = Chance(numbers, seed)
    hot = chance.below(4) > 0
    seller = np.where(hot, _last_person(numbers) // HOT_BATCH * HOT_BATCH, _some_person(numbers, chance))
    horizon_us = IN_FLIGHT_AUCTIONS * 50 // 3 * 1_000_000 // rate_per_s
    length_us = 1_000 + chance.below(max(horizon_us * 2, 1_000))
    initial = _price(chance)
    return pa.record_batch(
        {
            "id": _last_auction(numbers) + FIRST_ID,
            "item_name": _extra(chance, 10, 20),
            "description": _extra(chance, 50, 100),
            "initial_bid": initial,
            "reserve": initial + _price(chance),
            "date_time": _times(at_us),
            "expires": _times(at_us + length_us),
            "seller": seller + FIRST_ID,
            "category": 10 + chance.below(5),
            "extra": _extra(chance, 200, 300),
        }
    )


def _bids(numbers: Ints, at_us: Ints, seed: int) -> pa.RecordBatch:
    chance = Chance(numbers, seed)
    hot_auction = chance.below(2) > 0
    auction = np.where(
        hot_auction, _last_auction(numbers) // HOT_BATCH * HOT_BATCH, _some_auction(numbers, chance)
    )
    hot_bidder = chance.below(4) > 0
    bidder = np.where(
        hot_bidder, _last_person(numbers) // HOT_BATCH * HOT_BATCH + 1, _some_person(numbers, chance)
    )
    channel, url = _channels(chance)
    return pa.record_batch(
        {
            "auction": auction + FIRST_ID,
            "bidder": bidder + FIRST_ID,
            "price": _price(chance),
            "channel": channel,
            "url": url,
            "date_time": _times(at_us),
            "extra": _extra(chance, 20, 60),
        }
    )


def _channels(chance: Chance) -> tuple[pa.Array, pa.Array]:
    names = [*HOT_CHANNELS, *(f"channel-{i}" for i in range(CHANNELS))]
    urls = [f"https://www.nexmark.com/hot{i}/auction/page/item.htm?query=1" for i in range(len(HOT_CHANNELS))]
    for i in range(CHANNELS):
        tail = "" if i % 10 == 0 else f"&channel_id={i * 7919 % 1_000_003}"
        folders = "/".join(f"f{(i * factor) % 9973}" for factor in (17, 31, 101))
        urls.append(f"https://www.nexmark.com/{folders}/item.htm?query=1{tail}")
    is_hot = chance.below(2) > 0
    picked = np.where(is_hot, chance.below(len(HOT_CHANNELS)), len(HOT_CHANNELS) + chance.below(CHANNELS))
    return pa.array(names).take(pa.array(picked)), pa.array(urls).take(pa.array(picked))
