"""The tokenizer of text that is spoken: BERT's word pieces, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts, read_json, read_text
from minicpmo_convert.metadata import Metadata

FOLDER = Path("assets", "chattts_tokenizer")  # inside a checkpoint
ROLES = {
    "text_bos": "[Stts]",
    "speaker": "[spk_emb]",
    "text_eos": "[Etts]",
    "audio_bos": "[Ptts]",
    "unk": "[UNK]",
}


def tts_facts(config: Facts) -> Facts:
    """Of the published checkpoint, where config.json leaves them out."""
    return config.section("tts_config") if config.has("tts_config") else Facts({}, "config.json: tts_config")


class WordPieces:
    """tokenizer.json if there is one, else vocab.txt; tokenizer_config.json says what both leave out."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        settings = Facts.read(path) if path.exists() else Facts({}, path.name)
        fast = read_json(folder / "tokenizer.json") if (folder / "tokenizer.json").exists() else None
        read = _read_slow(folder, settings) if fast is None else _read_fast(fast)
        by_id, self.lowercase, accents = read
        self.strip_accents = self.lowercase if accents is None else accents
        for token, i in _added(fast, settings):
            check(
                by_id.get(i, token) == token,
                f"[word pieces] expected one token for id {i}, got {token!r} too",
            )
            by_id[i] = token
        n = len(by_id)
        good = set(by_id) == set(range(n)) and n > 0
        check(good, f"[word pieces] expected ids of 0 to {n - 1}, got others ({folder.name})")
        self.tokens = [by_id[i] for i in range(n)]
        ids = {token: i for i, token in enumerate(self.tokens)}
        check(len(ids) == n, f"[word pieces] expected every token once, got one twice ({folder.name})")
        for role, token in ROLES.items():
            check(token in ids, f"[word pieces] expected the token {token!r}, got nothing ({role})")
        self.ids = {role: ids[token] for role, token in ROLES.items()}

    def write_keys(self, keys: Metadata, config: Facts, n_text: int) -> None:
        n = len(self.tokens)
        check(n == n_text, f"[word pieces] expected {n_text} tokens as in emb_text, got {n}")
        tts = tts_facts(config)
        stated = (("spk_emb_token_id", "speaker"), ("audio_bos_token_id", "audio_bos"))
        for key, role in (*stated, ("text_eos_token_id", "text_eos")):
            tts.require(key, tts.integer(key, self.ids[role], low=0), self.ids[role])
        keys.texts("minicpmo.tts.tokenizer.tokens", self.tokens)
        keys.flag("minicpmo.tts.tokenizer.lowercase", self.lowercase)
        keys.flag("minicpmo.tts.tokenizer.strip_accents", self.strip_accents)
        for role, i in self.ids.items():
            keys.u32(f"minicpmo.tts.{role}_token_id", i)


def _read_slow(folder: Path, settings: Facts) -> tuple[dict[int, str], bool, bool | None]:
    lines = read_text(folder / "vocab.txt").split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    settings.require("tokenize_chinese_chars", settings.flag("tokenize_chinese_chars", True), True)
    accents = settings.flag("strip_accents") if settings.has("strip_accents") else None
    return dict(enumerate(line.rstrip("\r") for line in lines)), settings.flag("do_lower_case", True), accents


def _read_fast(fast: Any) -> tuple[dict[int, str], bool, bool | None]:
    where = "tokenizer.json"
    facts = Facts(fast, where)
    model, normalizer = facts.section("model"), facts.section("normalizer")
    for section, expected in (
        (model, {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        (normalizer, {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}),
        (facts.section("pre_tokenizer"), {"type": "BertPreTokenizer"}),
    ):
        for key, value in expected.items():
            section.require(key, section.raw(key), value)
    vocab = model.section("vocab").values()
    good = all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in vocab.values())
    check(
        good and len(set(vocab.values())) == len(vocab),
        f"[word pieces] expected an id for each token ({where})",
    )
    accents = normalizer.flag("strip_accents") if normalizer.has("strip_accents") else None
    return {i: token for token, i in vocab.items()}, normalizer.flag("lowercase"), accents


def _added(fast: Any, settings: Facts) -> list[tuple[str, int]]:
    found: list[tuple[Any, Any]] = []
    for entry in (fast.get("added_tokens") or []) if isinstance(fast, dict) else []:
        facts = Facts(entry, "tokenizer.json: added_tokens")
        found.append((facts.raw("content"), facts.raw("id")))
    decoder = (
        settings.section("added_tokens_decoder").values() if settings.has("added_tokens_decoder") else {}
    )
    for key, entry in decoder.items():
        good = key.isascii() and key.isdigit() and len(key) < 10
        check(good, f"[word pieces] expected an id, got {key!r} (added_tokens_decoder)")
        found.append((Facts(entry, "tokenizer_config.json: added_tokens_decoder").raw("content"), int(key)))
    for token, i in found:
        good = isinstance(token, str) and token != "" and isinstance(i, int) and not isinstance(i, bool)
        check(good and i >= 0, f"[word pieces] expected an added token with its id, got {token!r} and {i!r}")
    return found
