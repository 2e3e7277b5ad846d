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


def test_a_place_ahead_is_before_all_who_wait_and_is_used_by_another_thread() -> None:
    turns, order, waits = Turns(), [], threading.Event()

    def behind() -> None:
        waits.set()
        with turns.turn(60):
            order.append("behind")

    def ahead(place: threading.Event) -> None:
        with turns.turn(60, place):
            order.append("ahead")

    with turns.turn(60):
        threads = [threading.Thread(target=behind)]
        threads[0].start()
        assert waits.wait(60)
        while not turns.waiting:  # it has said that it begins, and stands in the line a moment later
            pass
        threads.append(threading.Thread(target=ahead, args=(turns.place_ahead(),)))
        threads[1].start()
        order.append("first")
    for thread in threads:
        thread.join()
    assert order == ["first", "ahead", "behind"]
    assert not turns.is_taken


def test_a_place_that_is_left_holds_nobody_up() -> None:
    turns = Turns()
    turns.leave(turns.place_ahead())  # it was the turn already
    assert not turns.is_taken
    with turns.turn(60):
        place = turns.place_ahead()
        turns.leave(place)
        assert not turns.waiting
    with turns.turn(60):
        assert turns.is_taken


def test_a_place_that_was_not_reached_in_time_is_gone() -> None:
    turns = Turns()
    with turns.turn(60):
        with turns.turn(0.001, turns.place_ahead()):
            pass
        assert not turns.waiting
    assert not turns.is_taken
