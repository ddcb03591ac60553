"""How many words were heard wrongly: substitutions, words left out and words too many."""

from __future__ import annotations

from demo.lexicon import Language


def words_of(text: str, language: Language) -> list[str]:
    return text.split() if language == "en" else list(text.replace(" ", ""))


def n_error(expected: list[str], got: list[str]) -> int:
    """The edit distance."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(expected, 1):
        before, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]
