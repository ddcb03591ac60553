"""A YAML file whose tags name Python classes, read as plain values: nothing is constructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.facts import Facts, read_text

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    pass


def _untagged(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    """The values under a tag; a reference to another place of the file counts as absent."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


_Loader.add_multi_constructor("!", _untagged)


def read_yaml(path: Path) -> Facts:
    """The mapping at the root; an absent file is an empty one."""
    if not path.exists():
        return Facts({}, path.name)
    check(
        path.stat().st_size <= MAX_BYTES,
        f"[config] expected a file of at most {MAX_BYTES} bytes ({path.name})",
    )
    try:
        return Facts(yaml.load(read_text(path), Loader=_Loader), path.name)  # a safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConvertError(f"[config] expected YAML in {path.name}, got {error}") from None


def section(facts: Facts, key: str) -> Facts:
    """A mapping inside, empty where there is none."""
    return facts.section(key) if isinstance(facts.raw(key), dict) else Facts({}, key)


def agree(facts: Facts, expected: dict[str, Any]) -> None:
    """Stated values must be those that the tensors show."""
    for key, value in expected.items():
        if facts.has(key):
            facts.require(key, facts.raw(key), value)
