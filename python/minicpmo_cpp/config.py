"""Config: the facts of a model file as a mapping that nobody can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Config(Mapping[str, Any]):
    """config["llm"]["n_layer"], dict(config), and a repr to read."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = {name: _frozen(value) for name, value in facts.items()}

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __repr__(self) -> str:
        return "\n".join(_lines(self, ""))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Config(value)
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _lines(config: Config, indent: str) -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, Config):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
