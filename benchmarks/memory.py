"""How much memory this process holds, in bytes, mapped pages of files included."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most it ever held."""
    found = _status().get("VmHWM")
    if found is not None:
        return found
    import resource  # elsewhere than on Linux

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes() -> int:
    """What it holds now."""
    found = _status().get("VmRSS")
    if found is None:
        raise OSError(f"[bench] expected resident memory in {_STATUS}, got none: only Linux says it")
    return found


def own_bytes() -> int:
    """What it holds now and no file does."""
    return _status().get("RssAnon", resident_bytes())


def _status() -> dict[str, int]:
    if not _STATUS.exists():
        return {}
    fields = (line.split() for line in _STATUS.read_text().splitlines())
    return {words[0][:-1]: int(words[1]) * 1024 for words in fields if len(words) == 3 and words[2] == "kB"}
