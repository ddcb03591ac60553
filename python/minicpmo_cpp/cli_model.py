"""Which model minicpmo-cli runs: a file, a set of files, a repository on a hub, or the demo."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from minicpmo_cpp._core import ModelFileError
from minicpmo_cpp.memory_plan import MemoryPlan, plan_fetched, plan_memory
from minicpmo_cpp.model import Model
from minicpmo_cpp.terminal import say

ModelOption = Annotated[
    str | None,
    typer.Option("-m", "--model", help="GGUF file, or a folder of published ones; a demo if absent."),
]
HubOption = Annotated[
    str | None,
    typer.Option(
        "-hf",
        "--hf-repo",
        metavar="OWNER/NAME[:QUANT]",
        help="Fetch a model of Hugging Face, or with ms:// before it of ModelScope; once.",
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of it; the default branch if absent.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Send no request: take --hf-repo from the cache.")
]
NoMemoryCheckOption = Annotated[
    bool, typer.Option("--no-memory-check", help="Try what does not fit into memory.")
]
NoMmapOption = Annotated[
    bool, typer.Option("--no-mmap", help="Copy weights into memory: slower to load, faster to answer.")
]


@dataclass(frozen=True)
class ModelArguments:
    """As they were given."""

    model: str | None = None
    repository: str | None = None
    revision: str | None = None
    is_offline: bool = False
    parts: dict[str, Any] | None = None  # keywords of Model.load

    def __post_init__(self) -> None:
        """Raises BadParameter for what makes no sense together."""
        if self.model is not None and self.repository is not None:
            raise typer.BadParameter("expected --model or --hf-repo, got both", param_hint="--hf-repo")
        if self.repository is None:
            for name, value in {"--revision": self.revision, "--offline": self.is_offline or None}.items():
                if value is not None:
                    raise typer.BadParameter(f"expected --hf-repo with {name}, got none", param_hint=name)
        if self.model is None and any((self.parts or {}).values()):
            raise typer.BadParameter(
                "expected the language model of these files, got none", param_hint="--model"
            )

    def open(self, stack: ExitStack, modules: Collection[str], **options: Any) -> tuple[Model, Path]:
        """The model and its file.

        Args:
            stack: keeps what lasts as long as the program.
            modules: as in Model.from_pretrained.
            options: of Model.load.
        """
        if self.repository is not None:
            from minicpmo_cpp.hub import fetch_model  # it needs an extra

            fetched = fetch_model(
                self.repository, revision=self.revision, modules=modules, offline=self.is_offline
            )
            return Model.load_fetched(fetched, modules=modules, **options), fetched.path
        path = _demo(stack) if self.model is None else _existing(self.model)
        return Model.load(path, modules=modules, **(self.parts or {}), **options), path

    def plan(self, modules: Collection[str] | None, **options: Any) -> MemoryPlan:
        """What open() with the same arguments would take; None: all modules that there are."""
        with ExitStack() as stack:
            if self.repository is not None:
                from minicpmo_cpp.hub import fetch_model  # it needs an extra

                fetched = fetch_model(
                    self.repository, revision=self.revision, modules=modules, offline=self.is_offline
                )
                return plan_fetched(fetched, modules=modules, **options)
            path = _demo(stack) if self.model is None else _existing(self.model)
            return plan_memory(path, modules=modules, **(self.parts or {}), **options)


def needed_modules(*, sees: bool, hears: bool, speaks: bool) -> list[str]:
    """For ModelArguments.open(). A voice is a recording that the system prompt lets the model hear."""
    wanted = {"vision": sees, "audio": hears or speaks, "speech": speaks}
    return [name for name, is_needed in wanted.items() if is_needed]


def _demo(stack: ExitStack) -> Path:
    path = stack.enter_context(resources.as_file(resources.files("minicpmo_cpp") / "data" / "demo.gguf"))
    if not path.is_file():
        raise ModelFileError("[cli] expected --model, got none, and this installation has no demo model")
    say("no --model given: this is the demo model, whose random weights answer nonsense")
    return path


def _existing(given: str) -> Path:
    path = Path(given)
    if not path.exists():
        raise ModelFileError(f"[cli] expected a GGUF file, got nothing ({path})")
    if (path / "config.json").is_file():
        raise ModelFileError(
            f"[cli] expected a GGUF file, got a checkpoint; minicpmo-convert makes one of it ({path})"
        )
    return path
