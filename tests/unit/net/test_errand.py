"""Calls beside the loop: what they bring, and what becomes of those that nobody waits for any more."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.errors import CredentialsError
from krakenws.net import errand as module
from krakenws.net.errand import Errand
from krakenws.net.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 10.0


def send(work: Callable[[], Any]) -> Errand:
    return Errand(work, then=lambda: None, late="nothing came", due=None)


def wait(errand: Errand) -> None:
    poller = Poller()
    poller.watch(-1, errand.watched)
    assert poller.wait(DEADLINE_S) == [-1]


def test_what_the_call_gives_is_handed_over_when_the_loop_hears_of_it() -> None:
    threads = []

    def work() -> str:
        threads.append(threading.get_ident())
        return "done"

    errand = send(work)
    wait(errand)
    assert errand.result() == "done"
    assert threads != [threading.get_ident()]


def test_what_the_call_raises_is_raised_in_the_loop() -> None:
    def work() -> None:
        raise CredentialsError("there is no key")

    errand = send(work)
    wait(errand)
    with pytest.raises(CredentialsError, match="there is no key"):
        errand.result()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors")
def test_an_errand_given_up_leaves_neither_descriptors_nor_its_result() -> None:
    class Token:
        pass

    free = threading.Event()
    left: list[weakref.ref[Token]] = []

    def work() -> Token:
        free.wait(DEADLINE_S)
        token = Token()
        left.append(weakref.ref(token))
        return token

    before = len(os.listdir("/proc/self/fd"))
    errands = [send(work) for _ in range(3)]
    for errand in errands:
        errand.close()
    del errand
    errands.clear()
    free.set()
    end_at = time.monotonic() + DEADLINE_S
    while len(os.listdir("/proc/self/fd")) > before or len(left) < 3 or any(one() for one in left):
        assert time.monotonic() < end_at
        gc.collect()


def test_a_thread_that_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open socket would be a warning, and warnings are errors here."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "start_new_thread", refuse)
    with pytest.raises(RuntimeError):
        send(lambda: None)
    gc.collect()
