"""Conversations as the official chat template writes them, in the parts that training needs."""

from __future__ import annotations

from demo.lexicon import Language

# What the official README asks for to have sound written down; the sound follows.
HEAR: dict[Language, str] = {
    "en": "Please listen to the audio snippet carefully and transcribe the content.\n\n",
    "zh": "请仔细听这段音频片段，并将其内容逐字记录。\n\n",
}
USER = "<|im_start|>user\n"
_ANSWER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
END = "<|im_end|>"
END_SPOKEN = "<|tts_eos|>" + END


def picture_prefix(n_slice: tuple[int, ...], n_query: int) -> str:
    """What stands before a question about pictures with so many slices in a row each: 0 is an overview alone.

    Placeholders are rows of <unk>, which embeddings of the pictures replace.
    """
    rows = "<unk>" * n_query
    parts = []
    for i, n in enumerate(n_slice):
        slices = f"<slice>{rows}</slice>" * n
        parts.append(f"<image_id>{i}</image_id><image>{rows}</image>{slices}\n")
    return USER + "".join(parts)


def asked(question: str, *, is_spoken: bool = False) -> str:
    """The rest of a user's turn and the beginning of the answer."""
    return question + _ANSWER + ("<|tts_bos|>" if is_spoken else "")


def chat_text(question: str) -> str:
    return USER + asked(question)


def heard(n_token: int) -> str:
    return "<|audio_start|>" + "<unk>" * n_token + "<|audio_end|>"
