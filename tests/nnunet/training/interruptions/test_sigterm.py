import os
import signal
import threading
import time

import pytest

from nnunet_pix2rep.nnunet.training.sigterm import EXIT_CODE, SigtermWatch, TrainingInterrupted


def test_sigterm_is_noted_and_raised_where_asked():
    watch = SigtermWatch()
    with watch:
        watch.raise_if_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(TrainingInterrupted):
            watch.raise_if_requested()
    assert watch.requested
    assert EXIT_CODE == 143


def test_the_earlier_handler_returns():
    received = []
    earlier = signal.signal(signal.SIGTERM, lambda *_: received.append("outer"))
    try:
        with SigtermWatch():
            with SigtermWatch() as inner:
                os.kill(os.getpid(), signal.SIGTERM)
            assert inner.requested
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["outer"]
    finally:
        signal.signal(signal.SIGTERM, earlier)


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with SigtermWatch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def fork_worker():
    """A process that lives for minutes unless a signal ends it."""
    child = os.fork()
    if child == 0:
        for _ in range(30_000):
            time.sleep(0.01)
        os._exit(0)
    return child


def has_ended(child):
    return os.waitpid(child, os.WNOHANG)[0] != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_sigterm_ends_forked_workers_after_the_block_only():
    with SigtermWatch() as watch:
        child = fork_worker()
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        time.sleep(0.2)
        assert not has_ended(child)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert not watch.requested
