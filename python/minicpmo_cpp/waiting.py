"""Loads the engine such that its threads wait for each other briefly awake, then asleep.

libgomp, on which ggml's threads run, lets a waiting thread spin for milliseconds. When another program has
one of the processors, that keeps the very thread that is waited for from running, and decoding falls to a
tenth. The figures are in docs/decisions/005-threads-wait-asleep.md. libgomp reads its settings once, when it
is loaded.
"""

from __future__ import annotations

import os

_SPIN_COUNT = "1000"  # turns of libgomp's waiting loop: some microseconds

_is_chosen = any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))  # by the user
if not _is_chosen:
    os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
try:
    import minicpmo_cpp._core  # noqa: F401
finally:
    if not _is_chosen:
        os.environ.pop("GOMP_SPINCOUNT", None)
