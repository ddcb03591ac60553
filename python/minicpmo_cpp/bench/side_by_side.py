"""Runs a piece of work on every thread at the same time, and says how long all of them together took."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter


def seconds(works: Sequence[Callable[[], object]]) -> float:
    """From the first begin to the last end. The interpreter must be free while they work."""
    barrier = threading.Barrier(len(works))
    spans: list[tuple[float, float]] = []

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        begin = perf_counter()
        work()
        spans.append((begin, perf_counter()))

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(spans) != len(works):
        raise RuntimeError(f"[bench] expected {len(works)} threads to finish, got {len(spans)}")
    return max(end for _, end in spans) - min(begin for begin, _ in spans)
