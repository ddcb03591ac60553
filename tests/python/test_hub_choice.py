"""Which files of a repository are fetched, by names alone."""

from __future__ import annotations

import pytest
from minicpmo_cpp.hub import HubError
from minicpmo_cpp.hub.choice import MODULES, choose

NAME = "MiniCPM-o-4_5"
TOKEN2WAV = [
    f"token2wav-gguf/{stem}.gguf"
    for stem in ("encoder", "flow_extra", "flow_matching", "hifigan2", "prompt_cache")
]
OMNI = [
    ".gitattributes",
    "README.md",
    *(f"{NAME}-{quantisation}.gguf" for quantisation in ("F16", "Q4_0", "Q4_K_M", "Q5_K_M", "Q8_0")),
    f"audio/{NAME}-audio-F16.gguf",
    *TOKEN2WAV,
    f"tts/{NAME}-projector-F16.gguf",
    f"tts/{NAME}-tts-F16.gguf",
    f"vision/{NAME}-vision-F16.gguf",
    "vision/coreml_minicpmo45_vit_all_f16.mlmodelc/weights/weight.bin",
]
PAIR = [
    "README.md",
    "ggml-model-Q4_0.gguf",
    "ggml-model-Q4_K_M.gguf",
    "Model-8.0B-F16.gguf",
    "mmproj-model-f16.gguf",
    "mmproj-model-f16-iOS.gguf",
]


def chosen(paths: list[str], wanted: str = "", modules: tuple[str, ...] = MODULES) -> list[str]:
    return choose(paths, wanted, modules, "org/repo").paths


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ((), []),
        (("vision",), [f"vision/{NAME}-vision-F16.gguf"]),
        (("audio",), [f"audio/{NAME}-audio-F16.gguf"]),
        (("speech",), [f"tts/{NAME}-tts-F16.gguf", f"tts/{NAME}-projector-F16.gguf", *TOKEN2WAV]),
    ],
)
def test_of_the_published_folder_just_what_a_run_needs(modules: tuple[str, ...], expected: list[str]) -> None:
    assert chosen(OMNI, "q8_0", modules) == [f"{NAME}-Q8_0.gguf", *expected]


def test_all_of_the_published_folder_but_the_other_language_models() -> None:
    everything = [f for f in OMNI if f.endswith(".gguf") and f.rpartition("/")[0]]
    assert sorted(chosen(OMNI)) == sorted([f"{NAME}-Q4_K_M.gguf", *everything])


def test_a_supplement_comes_with_any_module() -> None:
    paths = [*OMNI, f"{NAME}-supplement.gguf"]
    assert chosen(paths, modules=()) == [f"{NAME}-Q4_K_M.gguf"]
    assert chosen(paths, modules=("audio",))[-1] == f"{NAME}-supplement.gguf"


def test_a_pair() -> None:
    assert chosen(PAIR) == ["ggml-model-Q4_K_M.gguf", "mmproj-model-f16.gguf"]
    assert chosen(PAIR, "f16") == ["Model-8.0B-F16.gguf", "mmproj-model-f16.gguf"]
    assert chosen(PAIR, "FP16", ()) == ["Model-8.0B-F16.gguf"]


def test_of_parts_in_several_types_f16_comes_first() -> None:
    paths = ["m.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"]
    for expected in ("mmproj-F16.gguf", "mmproj-BF16.gguf", "mmproj-Q8_0.gguf", "mmproj-F32.gguf"):
        assert chosen(paths) == ["m.gguf", expected]
        paths.remove(expected)


@pytest.mark.parametrize("path", ["minicpm-o-4_5-q5_k_m.gguf", "anything.gguf", "Vision.gguf"])
def test_a_single_file_whatever_it_is_called(path: str) -> None:
    assert chosen([path, "README.md"]) == [path]


def test_all_parts_of_a_split_file_in_order() -> None:
    parts = [f"Q4_K_M/m-Q4_K_M-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    others = [f"Q8_0/m-Q8_0-0000{i}-of-00002.gguf" for i in (1, 2)]
    assert chosen([*reversed(parts), *others]) == parts
    assert chosen([*parts, *others], "q8_0") == others
    with pytest.raises(HubError, match=r"expected 3 parts of .*Q4_K_M, got 2"):
        chosen([parts[0], parts[2], *others])


def test_folders_named_by_quantisation() -> None:
    assert chosen(["Q4_K_M/model.gguf", "IQ4_XS/model.gguf"], "iq4_xs") == ["IQ4_XS/model.gguf"]


@pytest.mark.parametrize("name", ["m.UD-Q4_K_XL.gguf", "m-TQ1_0.gguf", "m-bf16.gguf", "m_q2_k.gguf"])
def test_names_of_types(name: str) -> None:
    wanted = name[2 : -len(".gguf")]
    assert chosen([name, "m-Q4_K_M.gguf"], wanted.swapcase()) == [name]


def test_a_file_that_is_named() -> None:
    assert chosen(OMNI, f"{NAME}-Q4_0.gguf", ()) == [f"{NAME}-Q4_0.gguf"]
    with pytest.raises(HubError, match=r"expected .*Q4_K_M\.gguf.*, got other\.gguf"):
        chosen(OMNI, "other.gguf")


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(HubError, match=r"expected one of F16, Q4_0, Q4_K_M, Q5_K_M, Q8_0, got Q3_K_S"):
        chosen(OMNI, "Q3_K_S")


def test_without_a_quantisation_several_are_a_question() -> None:
    with pytest.raises(HubError, match=r"expected the quantisation, one of Q5_K_M, Q8_0, got none"):
        chosen(["m-Q8_0.gguf", "m-Q5_K_M.gguf"])
    with pytest.raises(HubError, match=r"expected one language model, got a-Q8_0\.gguf, b-Q8_0\.gguf"):
        chosen(["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0")


@pytest.mark.parametrize("paths", [[], ["README.md"], ["model.GGUX"]])
def test_no_gguf_files(paths: list[str]) -> None:
    with pytest.raises(HubError, match="expected GGUF files, got none"):
        chosen(paths)


def test_no_language_model() -> None:
    with pytest.raises(HubError, match="expected a language model, got "):
        chosen(TOKEN2WAV)
