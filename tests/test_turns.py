"""Turns: blocks do not overlap while everybody is quick, and nobody is held up by one who is not."""

from __future__ import annotations

import threading

from headrace.turns import Turns


def test_blocks_do_not_overlap() -> None:
    turns, inside, overlaps = Turns(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with turns.turn(60):
                inside[0] += 1
                overlaps[0] += inside[0] > 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, overlaps) == ([0], [0])


def test_who_has_waited_long_enough_goes_without() -> None:
    turns = Turns()
    with turns.turn(1), turns.turn(0.001):
        pass
    with turns.turn(0):
        pass


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns.turn(60):
                raise ValueError
        except ValueError:
            pass
