"""Tokenizer files of a checkpoint -> tokenizer.ggml.* and minicpmo.tokens.* keys.

The merges are the checkpoint's own: they are fewer than those of the tokenizer it descends from.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.facts import Facts, read_json, read_text
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.sentence_pieces import SentencePieces, read_sentence_pieces

PIECES = "tokenizer.model"
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # tokenizer.ggml.token_type

# Placeholders that preprocessor_config.json may rename, by role.
_PLACEHOLDERS = {
    "im_start": "image_start",
    "im_end": "image_end",
    "slice_start": "slice_start",
    "slice_end": "slice_end",
    "im_id_start": "image_id_start",
    "im_id_end": "image_id_end",
    "unk": "unk",
}


@dataclass(frozen=True)
class Vocabulary:
    tokens: list[str]  # by id, padded to the model's size
    types: list[int]
    merges: list[str]
    ids: dict[str, int]
    pre: str = "qwen2"  # how text is cut into words
    pieces: SentencePieces | None = None  # in place of merges

    def id_of(self, token: str, why: str) -> int:
        check(token in self.ids, f"[tokenizer] expected the token {token!r}, got nothing ({why})")
        return self.ids[token]


def read_vocabulary(folder: Path, settings: Facts, n_vocab: int) -> Vocabulary:
    fast = read_json(folder / "tokenizer.json") if (folder / "tokenizer.json").exists() else None
    pieces = read_sentence_pieces(folder / PIECES) if (folder / PIECES).exists() else None
    if pieces is None:
        base, merges = _read_bpe(folder, fast)
    else:
        base, merges = {token: i for i, token in enumerate(pieces.tokens)}, []
        check(len(base) == len(pieces.tokens), f"[tokenizer] expected distinct pieces ({PIECES})")
    ids = dict(_checked_ids(base, n_vocab, "vocab.json"))
    by_id = {i: token for token, i in ids.items()}
    check(len(by_id) == len(ids), "[tokenizer] expected one token per id, got an id twice (vocab.json)")
    types = dict.fromkeys(by_id, NORMAL) if pieces is None else dict(enumerate(pieces.types))
    for token, i, special in _added_tokens(folder, settings, fast):
        check(i < n_vocab, f"[tokenizer] expected ids below vocab_size {n_vocab}, got {i} ({token!r})")
        check(
            by_id.get(i, token) == token and ids.get(token, i) == i,
            f"[tokenizer] expected one token per id, got {by_id.get(i)!r} and {token!r} for id {i}",
        )
        by_id[i], ids[token] = token, i
        types[i] = CONTROL if special else USER_DEFINED
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(n_vocab)]
    kinds = [types.get(i, UNUSED) for i in range(n_vocab)]
    return Vocabulary(tokens, kinds, merges, ids, _read_pre(fast), pieces)


def write_keys(keys: Metadata, folder: Path, preprocessor: Facts, family: Family, n_vocab: int) -> None:
    settings = Facts.read(folder / "tokenizer_config.json")
    vocabulary = read_vocabulary(folder, settings, n_vocab)
    write_vocabulary(keys, vocabulary)
    for name, role in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        token = _content(settings.raw(f"{role}_token"))
        if token is not None:
            keys.u32(
                f"tokenizer.ggml.{name}_token_id",
                vocabulary.id_of(token, f"tokenizer_config.json: {role}_token"),
            )
    # Sentence pieces begin with a token unless told otherwise; of byte pairs a chat template does.
    adds_begin = settings.flag("add_bos_token", vocabulary.pieces is not None)
    keys.flag("tokenizer.ggml.add_bos_token", adds_begin)
    template = _chat_template(folder, settings)
    if template is not None:
        keys.text("tokenizer.chat_template", template)

    strings = dict(family.tokens)
    for key, role in _PLACEHOLDERS.items():
        strings[role] = preprocessor.text(key, strings[role])
    for role, token in strings.items():
        if role in family.roles or token in vocabulary.ids:
            keys.u32(f"minicpmo.tokens.{role}", vocabulary.id_of(token, f"role {role}"))
    keys.u32s("minicpmo.tokens.special", _special_ids(folder, settings, vocabulary))
    _write_generation(keys, folder, vocabulary, family, n_vocab)
    keys.u32s("minicpmo.bad_token_ids", settings.ids("bad_token_ids", n_vocab, []))


def write_vocabulary(keys: Metadata, vocabulary: Vocabulary) -> None:
    pieces = vocabulary.pieces
    keys.text("tokenizer.ggml.model", "gpt2" if pieces is None else "llama")
    keys.text("tokenizer.ggml.pre", vocabulary.pre if pieces is None else "default")
    keys.texts("tokenizer.ggml.tokens", vocabulary.tokens)
    keys.i32s("tokenizer.ggml.token_type", vocabulary.types)
    if pieces is not None:
        more = len(vocabulary.tokens) - len(pieces.scores)
        keys.f32s("tokenizer.ggml.scores", pieces.scores + [0.0] * more)
        keys.flag("tokenizer.ggml.add_space_prefix", pieces.adds_space)
    keys.texts("tokenizer.ggml.merges", vocabulary.merges)


def _read_pre(fast: Any) -> str:
    """The pre-tokenizer by its pattern: numbers are cut into digits, or into up to three of them."""
    stated = json.dumps(fast.get("pre_tokenizer")) if isinstance(fast, dict) else ""
    return "llama-bpe" if "{1,3}" in stated else "qwen2"


def _special_ids(folder: Path, settings: Facts, vocabulary: Vocabulary) -> list[int]:
    """The tokens that the tokenizer's own list of special tokens names; it marks others as special, too."""
    path = folder / "special_tokens_map.json"
    listed = settings.raw("additional_special_tokens")
    if listed is None and path.exists():
        listed = Facts.read(path).raw("additional_special_tokens")
    check(
        listed is None or isinstance(listed, list), "[tokenizer] expected a list of additional_special_tokens"
    )
    roles = [settings.raw(f"{role}_token") for role in ("bos", "eos", "unk", "pad")]
    names = [_content(token) for token in [*roles, *(listed or [])]]
    return sorted({vocabulary.ids[name] for name in names if name in vocabulary.ids})


def _write_generation(
    keys: Metadata, folder: Path, vocabulary: Vocabulary, family: Family, n_vocab: int
) -> None:
    """Stop tokens and sampling defaults of generation_config.json; without it those of the reference."""
    path = folder / "generation_config.json"
    generation = Facts.read(path) if path.exists() else Facts({}, path.name)
    usual = [vocabulary.id_of(token, "a stop token") for token in family.stops]
    keys.u32s("minicpmo.tokens.stop", generation.ids("eos_token_id", n_vocab, usual))
    if generation.has("temperature"):
        keys.f32("minicpmo.sampling.temperature", generation.number("temperature", high=100.0))
    if generation.has("top_k"):
        keys.u32("minicpmo.sampling.top_k", generation.integer("top_k", low=0))
    if generation.has("top_p"):
        keys.f32("minicpmo.sampling.top_p", generation.number("top_p", high=1.0))


def _read_bpe(folder: Path, fast: Any) -> tuple[dict[str, Any], list[str]]:
    """(token -> id, merges "a b") from vocab.json and merges.txt, or tokenizer.json, or both, which agree."""
    if (folder / "vocab.json").exists() or fast is None:
        vocab, merges = read_json(folder / "vocab.json"), _read_merges(folder / "merges.txt")
        agree = fast is None or _read_fast(fast) == (vocab, merges)
        check(
            agree, "[tokenizer] expected vocab.json and merges.txt to agree with tokenizer.json, got others"
        )
    else:
        vocab, merges = _read_fast(fast)
    check(isinstance(vocab, dict), "[tokenizer] expected an object of token -> id (vocab.json)")
    check_merges(merges, vocab, "merges.txt")
    return vocab, merges


def check_merges(merges: list[str], tokens: Container[str], where: str) -> None:
    for merge in merges:
        left, _, right = merge.partition(" ")
        good = left in tokens and right in tokens and left + right in tokens
        check(good, f"[tokenizer] expected a merge of two tokens into a third, got {merge!r} ({where})")


def _read_merges(path: Path) -> list[str]:
    lines = read_text(path).split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return [line for line in lines if line]


def _read_fast(fast: Any) -> tuple[Any, list[str]]:
    """The same of tokenizer.json, which writes a merge as "a b" or as ["a", "b"]."""
    model = fast.get("model") if isinstance(fast, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(merges, list):
        raise ConvertError("[tokenizer] expected a model with merges (tokenizer.json)")
    return model.get("vocab"), [" ".join(map(str, m)) if isinstance(m, list) else str(m) for m in merges]


def _checked_ids(tokens: dict[str, Any], n_vocab: int, where: str) -> dict[str, int]:
    for token, i in tokens.items():
        good = isinstance(i, int) and not isinstance(i, bool) and 0 <= i < n_vocab
        check(good, f"[tokenizer] expected ids below vocab_size {n_vocab}, got {i!r} ({token!r}, {where})")
    return dict(tokens)


def _added_tokens(folder: Path, settings: Facts, fast: Any) -> list[tuple[str, int, bool]]:
    """(content, id, special) of each file that has some; tokenizer_config.json, the last, knows `special`."""
    found: list[tuple[Any, Any, Any]] = []
    if (folder / "added_tokens.json").exists():
        plain = read_json(folder / "added_tokens.json")
        check(isinstance(plain, dict), "[tokenizer] expected an object of token -> id (added_tokens.json)")
        found += [(token, i, False) for token, i in plain.items()]
    listed = fast.get("added_tokens", []) if isinstance(fast, dict) else []
    check(isinstance(listed, list), "[tokenizer] expected a list of added_tokens (tokenizer.json)")
    for entry in listed:
        check(isinstance(entry, dict), "[tokenizer] expected objects in added_tokens (tokenizer.json)")
        found.append((entry.get("content"), entry.get("id"), entry.get("special", False)))
    decoder = settings.raw("added_tokens_decoder") or {}
    check(
        isinstance(decoder, dict),
        "[tokenizer] expected an object as added_tokens_decoder (tokenizer_config.json)",
    )
    for key, entry in decoder.items():
        good = isinstance(entry, dict) and key.isascii() and key.isdigit() and len(key) < 10
        check(
            good,
            f"[tokenizer] expected an id and a token, got {key!r} (added_tokens_decoder)",
        )
        found.append((entry.get("content"), int(key), entry.get("special", False)))
    for token, i, special in found:
        good = isinstance(token, str) and token != "" and isinstance(special, bool)
        good = good and isinstance(i, int) and not isinstance(i, bool) and i >= 0
        check(good, f"[tokenizer] expected an added token with its id, got {token!r} and {i!r}")
    return found


def _content(token: Any) -> str | None:
    """A token is written as a string or as an object with its content."""
    content = token.get("content") if isinstance(token, dict) else token
    if content is not None and not isinstance(content, str):
        raise ConvertError(f"[tokenizer] expected a token, got {content!r} (tokenizer_config.json)")
    return content


def _chat_template(folder: Path, settings: Facts) -> str | None:
    """A string, or a list of named ones of which "default" is meant, or a file of its own."""
    template = settings.raw("chat_template")
    if isinstance(template, list):
        named = [t for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0].get("template") if named else None
    path = folder / "chat_template.jinja"
    if template is None and path.exists():
        return read_text(path)
    if template is not None and not isinstance(template, str):
        raise ConvertError("[tokenizer] expected a string (tokenizer_config.json: chat_template)")
    return template
