"""The vocabulary that a GGUF language model brings along -> tokenizer.ggml.* and minicpmo.tokens.* keys."""

from __future__ import annotations

from typing import Any

from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tokenizer import (
    CONTROL,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
    check_merges,
    write_vocabulary,
)

_HINT = "--tokenizer DIR takes the vocabulary of a checkpoint folder"
_BYTE = 6  # the last of tokenizer.ggml.token_type
# As the family's tokenizer_config.json has them: those in published files are not to be trusted.
_IDS = {"bos": "im_start", "eos": "im_end", "unknown": "unk", "padding": "endoftext"}


def write_keys(keys: Metadata, stored: Facts, family: Family, n_vocab: int) -> None:
    vocabulary = read_vocabulary(stored, n_vocab)
    ids = {
        role: _special_id(vocabulary, token, role)
        for role, token in family.tokens.items()
        if role in family.roles or token in vocabulary.ids
    }
    write_vocabulary(keys, vocabulary)
    for name, role in _IDS.items():
        keys.u32(f"tokenizer.ggml.{name}_token_id", ids[role])
    keys.flag("tokenizer.ggml.add_bos_token", False)
    if stored.has("tokenizer.chat_template"):
        keys.text("tokenizer.chat_template", stored.text("tokenizer.chat_template"))
    for role, i in ids.items():
        keys.u32(f"minicpmo.tokens.{role}", i)
    keys.u32s("minicpmo.tokens.stop", [ids["im_end"], ids["endoftext"]])


def read_vocabulary(stored: Facts, n_vocab: int) -> Vocabulary:
    stored.require("tokenizer.ggml.model", stored.text("tokenizer.ggml.model"), "gpt2")
    stored.require("tokenizer.ggml.pre", stored.text("tokenizer.ggml.pre", "qwen2"), "qwen2")
    tokens = _list(stored, "tokenizer.ggml.tokens", str)
    check(
        len(tokens) <= n_vocab,
        f"[tokenizer] expected at most {n_vocab} tokens, got {len(tokens)} (tokenizer.ggml.tokens); {_HINT}",
    )
    types = _list(stored, "tokenizer.ggml.token_type", int)
    good = len(types) == len(tokens) and all(1 <= kind <= _BYTE for kind in types)
    check(good, f"[tokenizer] expected {len(tokens)} types of 1 to {_BYTE} (tokenizer.ggml.token_type)")
    ids = {token: i for i, token in reversed(list(enumerate(tokens)))}
    merges = _list(stored, "tokenizer.ggml.merges", str)
    check_merges(merges, ids, "tokenizer.ggml.merges")
    for i in range(len(tokens), n_vocab):
        tokens.append(f"[PAD{i}]")
        types.append(UNUSED)
    return Vocabulary(tokens, types, merges, ids)


def _special_id(vocabulary: Vocabulary, token: str, role: str) -> int:
    """Its id. Whatever type its writer gave it, a token with a role is a special one."""
    i = vocabulary.id_of(token, f"role {role}; {_HINT}")
    if vocabulary.types[i] != USER_DEFINED:
        vocabulary.types[i] = CONTROL
    return i


def _list(stored: Facts, key: str, item: type) -> list[Any]:
    values = stored.raw(key)
    if not isinstance(values, list) or not all(
        isinstance(v, item) and not isinstance(v, bool) for v in values
    ):
        raise ConvertError(f"[tokenizer] expected a list of {item.__name__}, got none ({key})")
    return list(values)
