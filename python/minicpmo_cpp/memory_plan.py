"""MemoryPlan: what a model needs, module by module, against what the machine has, before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from minicpmo_cpp import _core
from minicpmo_cpp.model_files import part_paths
from minicpmo_cpp.options import flag, integer

if TYPE_CHECKING:
    from minicpmo_cpp.hub import Fetched

_BYTES_MAX = 2**63 - 1


class MemoryOptions(TypedDict, total=False):
    """Keywords of Model.load and plan_memory about memory."""

    n_ctx: int  # most tokens of a conversation; 0: what the model was trained for, or what fits
    kv_type: str | None  # of the context, as in Model.chat
    memory_check: bool  # False: loads what does not fit all the same
    available_memory: int | None  # bytes to plan for; None asks the machine
    use_mmap: bool  # False: the CPU reads a copy in memory: seconds more to load, faster answers


@dataclass(frozen=True)
class MemoryNeed:
    """What one part of a model or a conversation takes, in bytes."""

    name: str  # of a module, or what it is for
    mapped: int  # read where it lies in the file: pages that the system drops and reads again
    allocated: int  # in the machine's memory
    on_device: int  # on the GPU


@dataclass(frozen=True)
class MemoryPlan:
    """What is needed and what there is. str(plan) is a table.

    Weights are exact; what computing takes is an upper bound, for a voice as long as a voice may be.
    """

    needs: tuple[MemoryNeed, ...]
    n_ctx: int  # tokens of context that this counts, in each conversation
    n_sessions: int  # conversations at a time
    kv_bytes_per_token: int
    available: int | None  # bytes of the machine's memory; None where the system does not say
    device_available: int | None
    can_allocate: bool  # all that is allocated fits; else Model.load raises MemoryError
    fits: bool  # the file's pages fit beside it, too; else they are read from the disk again and again
    table: str

    @property
    def total(self) -> MemoryNeed:
        """The sum of all needs."""
        sums = (
            sum(getattr(need, name) for need in self.needs) for name in ("mapped", "allocated", "on_device")
        )
        return MemoryNeed("sum", *sums)

    def __str__(self) -> str:
        return self.table


def plan_memory(
    path: str | os.PathLike[str],
    *,
    modules: Collection[str] | None = None,
    device: str = "auto",
    max_sessions: int = 0,
    **options: Any,
) -> MemoryPlan:
    """The plan that Model.load makes of the same arguments, whether it fits or not. Only headers are read.

    Args:
        path: as Model.load takes it, as are modules and device.
        modules: see there.
        device: see there.
        max_sessions: conversations at a time to plan for; 0 counts one.
        options: files of a set, as Model.load takes them, and MemoryOptions.

    Raises:
        ModelFileError: a file is missing, damaged or no model, or several files do not fit.
        UnsupportedModelError: the file is sound and this build cannot run it.

    Example:
        >>> print(plan_memory("minicpm-o-4_5-q4_k_m.gguf", modules=["vision"], available_memory=8 * 2**30))
    """
    memory = {name: options.pop(name) for name in MemoryOptions.__annotations__ if name in options}
    parts = part_paths(**options)
    engine = engine_options(modules, memory)
    return _plan(os.fsdecode(path), parts, looks_around=not parts, device=device, n=max_sessions, **engine)


def plan_fetched(
    fetched: Fetched, *, modules: Collection[str] | None = None, device: str = "auto", **memory: Any
) -> MemoryPlan:
    """The plan that Model.load_fetched makes of the same arguments."""
    parts = [os.fsdecode(part) for part in fetched.parts]
    engine = engine_options(modules, memory)
    return _plan(os.fsdecode(fetched.path), parts, looks_around=False, device=device, n=0, **engine)


def engine_options(modules: Collection[str] | None, memory: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be loaded, and MemoryOptions, checked, as the engine's keywords."""
    for name in memory:
        if name not in MemoryOptions.__annotations__:
            raise TypeError(f"[model] expected no keyword {name}")
    if isinstance(modules, str) or not (modules is None or all(isinstance(name, str) for name in modules)):
        raise TypeError(f"[model] expected names of modules, got {modules!r} (modules)")
    kv_type, available = memory.get("kv_type"), memory.get("available_memory")
    if kv_type is not None and not isinstance(kv_type, str):
        raise TypeError(f"[model] expected the name of a type, got {kv_type!r} (kv_type)")
    return {
        "modules": None if modules is None else list(modules),
        "n_ctx": integer("n_ctx", memory.get("n_ctx", 0)),
        "kv_type": kv_type,
        "checks_memory": flag("memory_check", memory.get("memory_check", True)),
        "copies_weights": not flag("use_mmap", memory.get("use_mmap", True)),
        "available": None if available is None else integer("available_memory", available, 0, _BYTES_MAX),
    }


def to_plan(facts: Mapping[str, Any]) -> MemoryPlan:
    """What the engine says of a plan."""
    return MemoryPlan(**{**facts, "needs": tuple(MemoryNeed(*need) for need in facts["needs"])})


def _plan(
    path: str, parts: list[str], *, looks_around: bool, device: str, n: int, **engine: Any
) -> MemoryPlan:
    if not isinstance(device, str):
        raise TypeError(f"[model] expected the name of a device, got {device!r} (device)")
    facts = _core.plan_memory(
        path,
        parts=parts,
        looks_around=looks_around,
        device=device,
        max_sessions=integer("max_sessions", n, 0),
        **engine,
    )
    return to_plan(facts)
