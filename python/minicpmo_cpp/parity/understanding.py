"""Tokens, prompts, pictures and the language model against the official code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, largest_difference, relative_l2, share_different
from minicpmo_cpp.tokenizer import Tokenizer
from minicpmo_cpp.types import ChatResult, Prompt

_N_HIDDEN = 16  # rows of hidden states that the golden data keep
_N_GREEDY = 24
_MEAN_COLUMNS = 64

# The conversations of prompts.json: roles and parts, "@WxH" the picture of that size, "#1.0s" the sound of
# that length.
CONVERSATIONS: dict[str, list[tuple[str, list[str]]]] = {
    "text": [("user", ["Hello, who are you?"])],
    "text_think": [("user", ["Hello, who are you?"])],
    "image": [("user", ["@640x480", "What is in the image?"])],
    "two_images": [("user", ["@97x61", "@1000x200", "Compare."])],
    "audio": [
        (
            "user",
            ["Please listen to the audio snippet carefully and transcribe the content.\n", "#2.37s"],
        )
    ],
    "omni": [
        ("system", ["Clone the voice in the provided audio prompt.", "#1.0s", "Be helpful."]),
        ("user", ["@97x61", "#1.0s", "@28x28", "#1.0s"]),
    ],
    "multi_turn": [
        ("user", ["@97x61", "production date"]),
        ("assistant", ["2023.08.04"]),
        ("user", ["@28x28", "production date"]),
    ],
}


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
                wanted = preprocessed[f"{name}_{i}"]
                error = largest_difference(_as_stored(_strip(image["patches"][i]), wanted), wanted)
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
    pictures, sounds = golden.pictures(), golden.sounds()

    def part_of(text: str) -> Any:
        if text[0] == "@":
            return pictures[text[1:]]
        if text[0] == "#":
            return sounds[text[1:]]
        return text

    return [
        {"role": role, "content": [part_of(part) for part in parts]} for role, parts in CONVERSATIONS[name]
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


def _as_stored(strip: NDArray[np.float32], expected: NDArray[Any]) -> NDArray[np.float32]:
    """Some strips are stored whole, others as means over their rows, first columns."""
    means: NDArray[np.float32] = strip.mean(axis=1)[:, :_MEAN_COLUMNS]
    return strip if expected.ndim == 3 else means
