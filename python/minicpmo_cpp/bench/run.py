"""BenchRun: rounds of measurements, one figure after another, and one document of all of them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minicpmo_cpp import __version__
from minicpmo_cpp.bench.machine import describe_machine
from minicpmo_cpp.bench.roofline import Roofline
from minicpmo_cpp.bench.stages import NAMES, Stage, Stages
from minicpmo_cpp.model import Model

FORMAT = 1  # of the document
NOT_THE_PROCESSOR = "the limits are the processor's, and it runs on another device"


class BenchRun:
    """One model on one machine.

    Example:
        >>> path = Path("model.gguf")
        >>> run = BenchRun(path, Model.load(path), lambda: Model.load(path), ["decode"])
        >>> run.measure(3, print)
        >>> run.document()["stages"]["decode"]["share"]
    """

    def __init__(
        self, path: Path, model: Model, reopen: Callable[[], Model], names: Sequence[str] = ()
    ) -> None:
        """Users call minicpmo-cli bench.

        Args:
            path: of the model's file.
            model: is closed with the run.
            reopen: opens the same model anew, as the stage `load` does.
            names: of stages; all that the model has if there are none.

        Raises:
            ValueError: a stage that the model does not have.
        """
        self._path = path
        self._model = model
        config = self._model.config
        self.machine = describe_machine(config["n_threads"])
        self._on_cpu = str(config["device"]).lower() == "cpu"
        self._all = Stages(model, reopen)
        self.absent = self._all.absent()
        for name in names:
            if name in self.absent:
                raise ValueError(f"[bench] expected stages of this model, got {name}: {self.absent[name]}")
        self.stages: list[Stage] = list(self._all.chosen(names or NAMES))
        self.roofline = Roofline(config["n_threads"])
        self._n_round = 0

    def measure(self, n_round: int, on_begin: Callable[[str], None]) -> None:
        """Every figure once a round, so that all share the machine's good and bad minutes. A run of each
        beforehand is thrown away. on_begin: gets what is about to be measured."""
        for stage in self.stages:
            on_begin(f"warming up: {stage.name}")
            stage.run()
        for i in range(1, n_round + 1):
            on_begin(f"round {i} of {n_round}: limits")
            self.roofline.measure()
            for stage in self.stages:
                on_begin(f"round {i} of {n_round}: {stage.name}")
                stage.samples.append(stage.run())
            self._n_round += 1

    def document(self) -> dict[str, Any]:
        """Everything measured; nothing in it is not JSON."""
        config = self._model.config
        model = {name: config[name] for name in ("name", "modules", "device")}
        limits, roofline = {}, self.roofline
        for name, samples, instructions in (
            ("read_bytes_per_s", roofline.read_bytes_per_s, None),
            ("float32_op_per_s", roofline.float32_op_per_s, roofline.instructions["float32"]),
            ("int8_op_per_s", roofline.int8_op_per_s, roofline.instructions["int8"]),
        ):
            limits[name] = {"best": max(samples), "samples": samples, "instructions": instructions}
        return {
            "format": FORMAT,
            "machine": self.machine,
            "versions": {
                "minicpmo_cpp": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
            },
            "model": model
            | {
                "modules": list(config["modules"]),
                "path": str(self._path),
                "bytes": config["file_bytes"],
                "type": config["llm"]["type"],
            },
            "settings": {"n_round": self._n_round, "stages": [stage.name for stage in self.stages]},
            "limits": limits,
            "stages": {stage.name: self._facts(stage) for stage in self.stages},
            "absent": self.absent,
        }

    def close(self) -> None:
        self._all.close()
        self._model.close()

    def _facts(self, stage: Stage) -> dict[str, Any]:
        seconds, parts = median(stage.samples), stage.parts()
        facts: dict[str, Any] = {
            "samples_s": stage.samples,
            "median_s": seconds,
            "rate": stage.amount / seconds if stage.unit else None,
            "unit": stage.unit or None,
            "work": [{"int8_op": w.int8, "float_op": w.real, "bytes": w.n_byte} for w in parts],
            "limit_s": None,
            "limited_by": None,
            "share": None,
            "note": stage.note or None,
        }
        if parts and self._on_cpu:
            limit = self.roofline.limit(parts)
            facts |= {"limit_s": limit.seconds, "limited_by": limit.by, "share": limit.seconds / seconds}
        elif parts:
            facts["note"] = NOT_THE_PROCESSOR
        return facts
