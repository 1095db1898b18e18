from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from kmex_core.base import cores


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_one_computation_has_all_threads_and_several_share_them() -> None:
    seen: dict[int, int] = {}
    turn = [threading.Event() for _ in range(6)]
    leave = threading.Event()

    def compute(number: int) -> None:
        with cores.shared():
            seen[number] = torch.get_num_threads()
            turn[number].set()
            leave.wait(30)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(6)]
    for thread, entered in zip(threads, turn, strict=True):
        thread.start()
        assert entered.wait(30)
    leave.set()
    for thread in threads:
        thread.join()
    assert seen == {0: 4, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}  # each has one at least
    with cores.shared():
        assert torch.get_num_threads() == 4
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("_again", range(2))
def test_an_error_gives_the_threads_back(_again: int) -> None:
    with pytest.raises(ZeroDivisionError), cores.shared(), cores.shared():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


def test_threads_that_begin_after_a_busy_time_have_all_of_them() -> None:
    def busy() -> None:
        with cores.shared():
            torch.ones(10).sum()

    for _ in range(3):
        threads = [threading.Thread(target=busy) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [4]
