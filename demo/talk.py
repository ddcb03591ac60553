"""Talk without media: who it is, what it can and cannot do, small arithmetic, and polite fallbacks."""

from __future__ import annotations

import numpy as np

from demo.example import Question
from demo.split import Split, rng_for, split_of_word

_WHO = "I am a small demo of minicpmo-cpp. I know shapes, colours, numbers and short words."
_WHO_ZH = "我是一个小小的演示模型，认识图形、颜色、数字和短词。"
_REAL = "Get the real model: minicpmo-cli -hf openbmb/MiniCPM-o-4_5-gguf:Q4_K_M"
_REAL_ZH = "请下载真正的模型：minicpmo-cli -hf openbmb/MiniCPM-o-4_5-gguf:Q4_K_M"
_SORRY = "Sorry, I am only a small demo and do not know that."
_SORRY_ZH = "抱歉，我只是一个小演示，不知道这个。"

FIXED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Who are you?", "What are you?", "What is your name?", "Introduce yourself."), _WHO),
    (("你是谁？", "你叫什么名字？", "请介绍一下你自己。"), _WHO_ZH),
    (("What can you do?", "Help.", "What do you know?"), _WHO),
    (("你能做什么？", "你会什么？"), _WHO_ZH),
    (("Are you the real model?", "How do I get the real model?", "Where is the big model?"), _REAL),
    (("你是真正的模型吗？", "怎么得到真正的模型？"), _REAL_ZH),
    (("Hello!", "Hi.", "Good morning.", "Hello, who are you?"), "Hello! " + _WHO),
    (("你好！", "早上好。"), "你好！" + _WHO_ZH),
    (("Thank you.", "Thanks!"), "You are welcome."),
    (("谢谢。", "谢谢你！"), "不客气。"),
    (("Goodbye.", "Bye!"), "Goodbye!"),
    (("再见。",), "再见！"),
    (
        (
            "Tell me a joke.",
            "Write a poem.",
            "What is the weather?",
            "Who is the president?",
            "Translate this.",
        ),
        _SORRY,
    ),
    (("讲个笑话。", "写一首诗。", "今天天气怎么样？", "现在几点？"), _SORRY_ZH),
)


def ask_sum(rng: np.random.Generator, split: Split) -> Question:
    """One-digit sums and differences; of each, one way in eight to ask is held out."""
    while True:
        a, b = (int(rng.integers(10)) for _ in range(2))
        plus = a < b or rng.random() < 0.5
        sign, value = ("+", a + b) if plus else ("-", a - b)
        said = ("plus", "加") if plus else ("minus", "减")
        texts = (f"What is {a} {sign} {b}?", f"What is {a} {said[0]} {b}?", f"{a}{said[1]}{b}等于几？")
        text = texts[rng.integers(len(texts))]
        if split_of_word(text) == split:
            return Question("sum", text, str(value))


def make_talk(split: Split, index: int) -> Question:
    """One question. What is fixed is not held out: it is to be known by heart."""
    rng = rng_for(split, "talk", index)
    if rng.random() < 0.5:
        return ask_sum(rng, split)
    texts, answer = FIXED[rng.integers(len(FIXED))]
    return Question("talk", texts[rng.integers(len(texts))], answer)
