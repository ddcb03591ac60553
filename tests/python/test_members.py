"""Each member of the family against PyTorch: tests/data/README.md says what computed the numbers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from member_checkpoints import MEMBERS, write_member
from member_conversations import CONVERSATIONS, N_GREEDY, Frames, pictures, sounds
from minicpmo_convert.convert import convert
from minicpmo_convert.inspection import inspect
from minicpmo_convert.layouts.folder import write_folder
from minicpmo_cpp import Model, UnsupportedModelError
from minicpmo_cpp.official import MiniCPMO
from minicpmo_cpp.parity.golden import relative_l2

DATA = Path(__file__).parents[1] / "data" / "members"
# Relative L2 against float32 PyTorch, as for MiniCPM-o 4.5: two layers of products summed in another order.
CLOSE = 2e-4
# Greedy tokens need the likeliest logit alone, so they are compared as they are.

Load = Callable[[str], Model]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """A member's model, converted once."""
    opened: dict[str, Model] = {}

    def open_once(name: str) -> Model:
        if name not in opened:
            folder = tmp_path_factory.mktemp(name)
            convert(write_member(name, folder / "checkpoint"), folder / "model.gguf", "f32")
            opened[name] = Model.load(folder / "model.gguf", n_threads=1)
        return opened[name]

    return open_once


def expected(name: str) -> dict[str, Any]:
    with np.load(DATA / f"{name}.npz") as arrays:
        return dict(arrays)


def messages(case: str) -> list[dict[str, Any]]:
    def part_of(part: str | Frames) -> Any:
        if isinstance(part, Frames):
            frames = [pictures()[each] for each in part.names]
            return {"type": "frames", "frames": frames, "temporal_ids": part.times}
        if part[0] == "@":
            return pictures()[part[1:]]
        return sounds()[part[1:]] if part[0] == "#" else part

    conversation = CONVERSATIONS[case]
    return [{"role": role, "content": [part_of(p) for p in parts]} for role, parts in conversation.messages]


def cases() -> list[Any]:
    found = [(name, case) for case, c in CONVERSATIONS.items() for name in c.members]
    return [pytest.param(name, case, id=f"{name}-{case}") for name, case in found]


@pytest.mark.parametrize("name", MEMBERS)
def test_pictures_and_sounds(name: str, load: Load) -> None:
    model, wanted = load(name), expected(name)
    engine = model._open()
    image = pictures()["wide"]
    n_slice = len(engine.prepare_image(image)["patches"])
    assert n_slice == 5
    assert relative_l2(engine.encode_patches(image, slice=n_slice - 1)[::4], wanted["encoded"]) < CLOSE
    assert relative_l2(model.encode_image(image)[[0, -1]], wanted["resampled"]) < CLOSE
    if MEMBERS[name].hears:
        assert relative_l2(model.encode_audio(sounds()["speech"]), wanted["heard"]) < CLOSE


@pytest.mark.parametrize(("name", "case"), cases())
def test_conversations(name: str, case: str, load: Load) -> None:
    model, wanted = load(name), expected(name)
    thinks = CONVERSATIONS[case].thinks
    reading: dict[str, Any] = {"enable_thinking": thinks}
    if case == "video":  # as the reference reads one unless told otherwise
        reading |= {"use_image_id": True, "max_slice_nums": 4}
    prompt = model.build_prompt(messages(case), **reading)
    # The reference's rendering of a template leaves the token out that its tokenizer then puts in front.
    begin = "<s>" if MEMBERS[name].vocabulary == "pieces" else ""
    assert prompt.text == begin + str(wanted[f"{case}_text"])
    assert prompt.ids.tolist() == wanted[f"{case}_ids"].tolist()
    if (name, case) != ("v-4.0-long", "text"):
        found = model.forward(embeds=prompt.embeds)
        assert relative_l2(found.hidden[-8:], wanted[f"{case}_hidden"]) < CLOSE
        assert relative_l2(found.logits, wanted[f"{case}_logits"]) < CLOSE
    answer = model.chat(
        messages(case),
        max_new_tokens=N_GREEDY,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_stop=True,
        **reading,
        # Below the length where factors of frequencies change, the short ones are chosen.
        n_ctx=600 if (name, case) == ("v-4.0-long", "text") else 0,
    )
    assert answer.token_ids == wanted[f"{case}_greedy"].tolist()


def test_video_by_the_official_names(load: Load) -> None:
    """temporal_ids group the pictures of a conversation, as chat() of MiniCPM-V 4.5 takes them."""
    model, wanted = load("v-4.5"), expected("v-4.5")
    frames = [pictures()[f"frame{i}"] for i in range(5)]
    answer = MiniCPMO(model).chat(
        msgs=[{"role": "user", "content": [*frames, "What is it?"]}],
        temporal_ids=[[0, 7, 14], [21, 3600]],
        do_sample=False,
        repetition_penalty=1.0,
        max_new_tokens=N_GREEDY,
        use_image_id=True,
        max_slice_nums=4,
        return_prompt=True,
    )
    assert answer[1] == str(wanted["video_text"])
    stops = np.isin(wanted["video_greedy"], model.config["stop_tokens"]).nonzero()[0]
    n_said = int(stops[0]) if len(stops) else N_GREEDY
    assert answer[0] == model.detokenize(wanted["video_greedy"][:n_said].tolist())


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[0, 1]], "expected a time for each of 3 pictures, got 2"),
        ([[0], [1, 2]], "side by side"),
        (5, "expected lists of times"),
    ],
)
def test_groups_of_pictures_are_checked(times: Any, message: str, load: Load) -> None:
    image = pictures()["small"]
    msgs = [{"role": "user", "content": [image, image, "and", image]}]
    with pytest.raises((ValueError, TypeError), match=message):
        MiniCPMO(load("v-4.5")).chat(msgs=msgs, temporal_ids=times)


def test_frames_without_times_are_pictures(load: Load) -> None:
    model = load("v-4.5")
    image = pictures()["frame0"]
    alone = model.build_prompt([{"role": "user", "content": [image]}])
    timed = [{"type": "frames", "frames": [image], "temporal_ids": [-1]}]
    found = model.build_prompt([{"role": "user", "content": timed}], max_slice_nums=4, use_image_id=True)
    assert found.ids.tolist() == alone.ids.tolist()
    assert relative_l2(found.embeds, alone.embeds) < 1e-6  # the tower and the resampler in two graphs


def test_thoughts_begin_with_their_tag(load: Load) -> None:
    """The prompt of MiniCPM-V 4.5 has it, and the reference puts it in front of the answer."""
    answer = load("v-4.5").chat("Hello", enable_thinking=True, max_new_tokens=2, ignore_stop=True, seed=1)
    assert answer.text.startswith("<think>\n")
    assert len(answer.token_ids) == 2


@pytest.mark.parametrize("name", ["v-2.6", "v-4.5", "v-4.0", "v-2.5"])
def test_what_a_member_cannot_do(name: str, load: Load) -> None:
    model = load(name)
    with pytest.raises(UnsupportedModelError, match="expected a model that hears, got one"):
        model.chat([{"role": "user", "content": [sounds()["short"], "What?"]}])
    with pytest.raises(UnsupportedModelError, match="expected a model that speaks, got one"):
        model.chat("Hello", audio=True)


@pytest.mark.parametrize("name", ["o-2.6", "v-2.6", "v-4.0", "v-2.5"])
def test_pictures_of_other_members_have_no_times(name: str, load: Load) -> None:
    with pytest.raises(UnsupportedModelError, match="no positions in time"):
        load(name).build_prompt(messages("video"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temporal_ids": [0]}, "expected a time for each"),
        ({"frames": []}, "expected a time for each"),
        ({"frames": "ab"}, r"expected a list, got str .*frames"),
        ({"temporal_ids": [0, -2]}, r"temporal_ids\[1\]"),
        ({"temporal_ids": [0, 2**30]}, "expected times of -1 to"),
        ({"frames": [pictures()["small"], pictures()["wide"]]}, "expected frames of one size"),
    ],
)
def test_frames_are_checked(change: dict[str, Any], message: str, load: Load) -> None:
    part = {"type": "frames", "frames": [pictures()["small"]] * 2, "temporal_ids": [0, 1], **change}
    with pytest.raises((ValueError, TypeError), match=message):
        load("v-4.5").build_prompt([{"role": "user", "content": [part]}], max_slice_nums=4)


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "v-4.0-long"])
def test_llama_cpp_pairs(name: str, tmp_path: Path, load: Load) -> None:
    """A pair read back gives what the single file gives; of sound it knows nothing."""
    write_folder(write_member(name, tmp_path / "checkpoint"), tmp_path / "pair", "f32", "mmproj")
    pair, single = Model.load(tmp_path / "pair", n_threads=1), load(name)
    assert list(pair.config["modules"]) == ["llm", "vision"]
    for case in ("image", "turns"):
        found, wanted = (m.build_prompt(messages(case), max_slice_nums=4) for m in (pair, single))
        assert found.text == wanted.text
        assert found.ids.tolist() == wanted.ids.tolist()
        assert relative_l2(found.embeds, wanted.embeds) < 1e-5  # of scaled models: divided and multiplied
        logits = [m.forward(embeds=wanted.embeds).logits for m in (pair, single)]
        assert relative_l2(*logits) < 1e-6
    assert any("vision" in line for line in inspect(tmp_path / "pair"))


@pytest.mark.parametrize("name", ["o-2.6", "v-2.6", "v-4.5", "v-4.0", "v-4.0-scaled"])
def test_llama_cpp_sees_the_same(name: str, tmp_path: Path, load: Load) -> None:
    """On a square of one slice; of the first member it places patches in another way."""
    peer = os.environ.get("MINICPMO_LLAMA_CPP")
    if peer is None:
        pytest.skip("MINICPMO_LLAMA_CPP names no Python with llama-cpp-python")
    write_folder(write_member(name, tmp_path / "checkpoint"), tmp_path / "pair", "f32", "mmproj")
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mmproj = tmp_path / "pair" / "mmproj-model-f16.gguf"
    llm = next(path for path in mmproj.parent.iterdir() if path != mmproj)
    script = Path(__file__).with_name("llama_cpp_embedding.py")
    files = [llm, mmproj, tmp_path / "pixels.npy", tmp_path / "theirs.npy"]
    subprocess.run([peer, script, *files], check=True, capture_output=True)
    ours = load(name).encode_image(pixels, max_slice_nums=1)[0]
    # Its language model multiplies the rows of pictures, too, so those are divided in the file.
    theirs = np.load(tmp_path / "theirs.npy") * MEMBERS[name].config.get("scale_emb", 1)
    assert relative_l2(theirs, ours) < 1e-2  # its own kernels, with a table of GELU in half precision
