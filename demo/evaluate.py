"""`python -m demo.evaluate MODEL.gguf`: held-out accuracy through the engine, task by task.

Everything goes through the Python API as a user calls it, with the likeliest token each time.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minicpmo_cpp import TASKS, Model

from demo.lexicon import LANGUAGES
from demo.pictures.maker import KINDS, SIZES, make_sight
from demo.sounds.utterance import SETS, Utterance, make_utterance
from demo.sounds.word_accuracy import n_error, words_of
from demo.split import rng_for
from demo.talk import FIXED, ask_sum

N_QUESTION = 4
Asked = tuple[str, list[Any], str]  # task, what the user says, the right answer


def sights(count: int, sliced: bool) -> Iterator[Asked]:
    """Questions about `count` held-out pictures of each kind, whole ones or those seen in slices."""
    for kind in KINDS:
        for i in range(count):
            size = SIZES[-1] if sliced else SIZES[i % 3]
            sight = make_sight("held_out", kind, i, size, N_QUESTION)
            for question in {q.text: q for q in sight.questions}.values():
                task = f"{question.task}, sliced" if sliced else question.task
                yield task, [*sight.pictures, question.text], question.answer


def talk(count: int) -> Iterator[Asked]:
    for texts, answer in FIXED:
        for text in texts:
            yield "talk", [text], answer
    for i in range(count):
        question = ask_sum(rng_for("held_out", "sum", i), "held_out")
        yield "sum", [question.text], question.answer


def answer_of(model: Model, content: list[Any]) -> str:
    messages: Any = [{"role": "user", "content": content}]
    return model.chat(messages, temperature=0, repetition_penalty=1.0, max_new_tokens=48).text.strip()


def answered(model: Model, asked: Iterator[Asked], show: Callable[[str], None]) -> dict[str, tuple[int, int]]:
    """Task -> (right, all)."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for task, content, right in asked:
        got = answer_of(model, content)
        counts[task][0] += got == right
        counts[task][1] += 1
        if got != right:
            show(f"{task}: {content[-1]!r} expected {right!r}, got {got!r}")
    return {task: (n, of) for task, (n, of) in sorted(counts.items())}


def heard(model: Model, utterances: Iterator[Utterance], show: Callable[[str], None]) -> tuple[int, int]:
    """(right, all) words; of Chinese, signs. A word too many counts as a wrong one."""
    right = total = 0
    for each in utterances:
        got = answer_of(model, [TASKS[f"asr-{each.language}"], each.samples])
        expected, said = words_of(each.text, each.language), words_of(got, each.language)
        error = n_error(expected, said)
        right, total = right + max(0, len(expected) - error), total + len(expected)
        if error:
            show(f"{each.voice}: expected {each.text!r}, got {got!r}")
    return right, total


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=int, default=150, help="pictures of each kind")
    parser.add_argument("--sounds", type=int, default=0, help="utterances of each set; needs espeak-ng")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="prints what is answered wrongly")
    parser.add_argument("--json", type=Path, help="writes the numbers there, too")
    given = parser.parse_args()
    show: Callable[[str], None] = print if given.show else lambda line: None
    model = Model.load(given.model, device="cpu", n_threads=given.threads)
    results = answered(model, talk(given.pictures), show)
    results |= answered(model, sights(given.pictures, sliced=False), show)
    results |= answered(model, sights(given.pictures // 3, sliced=True), show)
    if given.sounds:
        for which in SETS:
            for language in LANGUAGES:
                made = (make_utterance("held_out", language, i, which) for i in range(given.sounds))
                results[f"words of {which}, {language}"] = heard(model, made, show)
    for task, (right, of) in results.items():
        print(f"{task:32s} {right:5d} of {of:5d}  {100 * right / of:5.1f} %")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
