"""How far this engine is from the official code: `python -m minicpmo_cpp.parity --golden DIR`.

Converts the tiny checkpoints of a golden folder, repeats what the official code computed from them, and
prints the difference, module by module and type by type. Its README says what the files hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.tokenizer import Tokenizer
from minicpmo_cpp.types import ChatResult, Prompt

_N_HIDDEN = 16  # rows of hidden states that the golden data keep
_N_GREEDY = 24
_MEAN_COLUMNS = 64

# The conversations of prompts.json without audio: roles and parts, "@WxH" the picture of that size.
CONVERSATIONS: dict[str, list[tuple[str, list[str]]]] = {
    "text": [("user", ["Hello, who are you?"])],
    "text_think": [("user", ["Hello, who are you?"])],
    "image": [("user", ["@640x480", "What is in the image?"])],
    "two_images": [("user", ["@97x61", "@1000x200", "Compare."])],
    "multi_turn": [
        ("user", ["@97x61", "production date"]),
        ("assistant", ["2023.08.04"]),
        ("user", ["@28x28", "production date"]),
    ],
}


@dataclass(frozen=True)
class Row:
    """One comparison. An error is a relative L2 distance, or a share of items that differ."""

    model: str  # the golden set
    type: str
    module: str
    item: str
    error: float
    limit: float | None  # at f32; other types have none

    @property
    def is_within(self) -> bool:
        return self.limit is None or self.error <= self.limit


class Golden:
    """What the official code computed from one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.checkpoint = folder / "checkpoint"
        self._folder = folder / "golden"

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self._folder / f"{name}.npz") as archive:
            return dict(archive)

    def facts(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        return facts

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """By size, such as "640x480"."""
        prefix = "image_"
        arrays = self.arrays("inputs").items()
        return {name.removeprefix(prefix): pixels for name, pixels in arrays if name.startswith(prefix)}


def relative_l2(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    return float(difference / max(float(np.linalg.norm(expected.astype(np.float64))), 1e-30))


def share_different(found: list[Any], expected: list[Any]) -> float:
    n = max(len(found), len(expected), 1)
    return 1 - sum(bool(a == b) for a, b in zip(found, expected, strict=False)) / n


def compare_tokenizer(golden: Path, tokenizer: Tokenizer) -> Iterator[Row]:
    """tokens.json against a tokenizer of the real files."""
    texts = json.loads((golden / "tokens.json").read_text(encoding="utf-8"))
    ids = [tokenizer.tokenize(entry["text"]) for entry in texts]
    yield Row("real", "-", "tokens", "ids", share_different(ids, [entry["ids"] for entry in texts]), 0.0)
    decoded = [tokenizer.detokenize(entry["ids"]) for entry in texts]
    yield Row("real", "-", "tokens", "decoded", share_different(decoded, [e["decoded"] for e in texts]), 0.0)


def compare_system_prompts(golden: Golden) -> Iterator[Row]:
    """Keys are mode_language_ref or mode_language_noref."""
    for name, expected in golden.facts("system_prompts").items():
        mode, language, voice = name.rsplit("_", 2)
        try:
            parts = _core.system_prompt(voice == "ref", mode, language)
            found: Any = ["<AUDIO>" if part is None else part for part in parts]
        except ValueError:
            found = "ERROR"
        wanted = "ERROR" if isinstance(expected, str) else expected["content"]
        yield Row(golden.name, "-", "system prompt", name, float(found != wanted), 0.0)


def compare_model(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """All that a model file decides. Limits hold for f32."""
    is_exact = type_name == "f32"

    def row(module: str, item: str, error: float, limit: float) -> Row:
        return Row(golden.name, type_name, module, item, error, limit if is_exact or limit == 0 else None)

    engine = model._open()
    pictures = golden.pictures()
    preprocessed = golden.arrays("image_preprocess")
    for name, expected in golden.facts("image_preprocess").items():
        size, _, limit = name.rpartition("_")
        image = engine.prepare_image(pictures[size], None if limit == "default" else int(limit))
        yield row("image", f"{name} layout", float(not _has_layout(image, expected)), 0.0)
        for i in range(len(image["patches"])):
            if f"{name}_{i}" in preprocessed:
                error = _largest_difference(_strip(image["patches"][i]), preprocessed[f"{name}_{i}"])
                yield row("image", f"{name} values of slice {i}, largest", error, 1e-6)

    for name, rows in golden.arrays("vision").items():
        kind, size = name.split("_")[:2]
        max_slices = None if size == "300x900" else 1
        if kind == "encoded":
            yield row(
                "vision", size, relative_l2(engine.encode_patches(pictures[size], max_slices), rows), 1e-4
            )
        else:
            yield row(
                "resampler", size, relative_l2(model.encode_image(pictures[size], max_slices), rows), 1e-4
            )

    prompts, outputs = golden.facts("prompts"), golden.arrays("generation")
    for name in CONVERSATIONS:
        prompt = build(golden, model, name)
        yield row("prompt text", name, float(prompt.text != prompts[name]["prompt"]), 0.0)
        wrong = share_different(prompt.ids.tolist(), outputs[f"{name}_input_ids"].tolist())
        yield row("prompt ids", name, wrong, 0.0)
        if f"{name}_embeds" in outputs:
            yield row("embeds", name, relative_l2(prompt.embeds, outputs[f"{name}_embeds"]), 2e-4)
        found = model.forward(embeds=prompt.embeds)
        yield row("logits", name, relative_l2(found.logits, outputs[f"{name}_last_logits"]), 2e-4)
        yield row(
            "hidden", name, relative_l2(found.hidden[-_N_HIDDEN:], outputs[f"{name}_last_hidden"]), 2e-4
        )
        wrong = share_different(greedy_ids(golden, model, name), outputs[f"{name}_greedy_ids"].tolist())
        yield Row(golden.name, type_name, "greedy ids", name, wrong, 0.0 if is_exact else None)


def compare_types(golden: Golden, exact: Model, model: Model, type_name: str) -> Iterator[Row]:
    """What quantisation alone costs: last logits against our own f32."""
    for name in CONVERSATIONS:
        prompt = build(golden, exact, name)
        logits = model.forward(embeds=build(golden, model, name).embeds).logits
        error = relative_l2(logits, exact.forward(embeds=prompt.embeds).logits)
        yield Row(golden.name, type_name, "logits to own f32", name, error, None)


def conversation(golden: Golden, name: str) -> list[dict[str, Any]]:
    pictures = golden.pictures()
    return [
        {"role": role, "content": [pictures[part[1:]] if part[0] == "@" else part for part in parts]}
        for role, parts in CONVERSATIONS[name]
    ]


def build(golden: Golden, model: Model, name: str) -> Prompt:
    """The prompt with the options that prompts.json notes."""
    return model.build_prompt(conversation(golden, name), **golden.facts("prompts")[name]["kw"])


def greedy_ids(golden: Golden, model: Model, name: str) -> list[int]:
    result: ChatResult = model.chat(
        conversation(golden, name),
        max_new_tokens=_N_GREEDY,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_stop=True,
        **golden.facts("prompts")[name]["kw"],
    )
    return result.token_ids


def _has_layout(image: dict[str, Any], expected: dict[str, Any]) -> bool:
    grid = list(image["grid"]) if image["grid"] is not None else None
    sizes = [list(size) for size in image["target_sizes"]]
    placeholder = str(image["placeholder"])
    return (grid, sizes, placeholder) == (expected["grid"], expected["tgt_sizes"], expected["placeholder"])


def _strip(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 3, p, p] -> the reference's [3, p, n * p]."""
    n, n_channel, p, _ = patches.shape
    strip: NDArray[np.float32] = patches.transpose(1, 2, 0, 3).reshape(n_channel, p, n * p)
    return strip


def _largest_difference(strip: NDArray[np.float32], expected: NDArray[Any]) -> float:
    """Some strips are stored whole, others as means over their rows, first columns."""
    found = strip if expected.ndim == 3 else strip.mean(axis=1)[:, :_MEAN_COLUMNS]
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")


def measure(golden: Path, tokenizer: Path, names: list[str], types: list[str]) -> Iterator[Row]:
    from minicpmo_convert.convert import convert

    yield from compare_tokenizer(golden, Tokenizer.from_pretrained(tokenizer))
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            data = Golden(golden / name)
            yield from compare_system_prompts(data)
            models = {}
            for type_name in dict.fromkeys(["f32", *types]):
                path = Path(scratch) / f"{name}-{type_name}.gguf"
                convert(data.checkpoint, path, type_name)
                models[type_name] = Model.load(path)
            for type_name in types:
                yield from compare_model(data, models[type_name], type_name)
                if type_name != "f32":
                    yield from compare_types(data, models["f32"], models[type_name], type_name)
            models.clear()


def to_table(rows: list[Row]) -> str:
    """One line per module: its worst item."""
    worst: dict[tuple[str, str, str], Row] = {}
    count: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.model, row.type, row.module)
        count[key] = count.get(key, 0) + 1
        if key not in worst or row.error > worst[key].error:
            worst[key] = row
    lines = [
        f"{'model':<8}{'type':<8}{'module':<20}{'items':>6}{'worst error':>14}{'limit':>9}      worst item"
    ]
    for key, row in worst.items():
        limit = "-" if row.limit is None else f"{row.limit:g}"
        verdict = "" if row.limit is None else "ok" if row.is_within else "FAIL"
        item = row.item if row.error > 0 else ""
        start = f"{row.model:<8}{row.type:<8}{row.module:<20}{count[key]:>6}"
        lines.append(f"{start}{row.error:>14.2e}{limit:>9} {verdict:<4} {item}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m minicpmo_cpp.parity", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--golden", type=Path, required=True, help="folder with tokens.json and one folder per set"
    )
    parser.add_argument("--tokenizer", type=Path, help="real tokenizer files; GOLDEN/../tokenizer if absent")
    parser.add_argument("--models", default="", help="sets, separated by commas; all if absent")
    parser.add_argument("--types", default="f32,q8_0,q4_k_m", help="types to convert to, separated by commas")
    parser.add_argument("--json", action="store_true", help="every comparison as JSON instead of a table")
    options = parser.parse_args()
    known = sorted(folder.parent.name for folder in options.golden.glob("*/checkpoint"))
    names = options.models.split(",") if options.models else known
    for name in names:
        if name not in known:
            parser.error(f"expected sets among {', '.join(known) or 'none'}, got {name!r} ({options.golden})")
    tokenizer = options.tokenizer or options.golden.parent / "tokenizer"
    rows = list(measure(options.golden, tokenizer, names, options.types.split(",")))
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else to_table(rows))
    sys.exit(0 if all(row.is_within for row in rows) else 1)


if __name__ == "__main__":
    main()
