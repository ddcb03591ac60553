"""The full-size speech side with random weights: shapes of published files, which the converter then reads.

The language model of speech codes, the flow and the original vocoder. full_size_voice.py adds what hears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from minicpmo_convert import names, speech_names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import flow, tts, vocoder
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_file import TorchFile

CODES = {"n_embd": 768, "n_kv": 768, "n_ff": 3072, "n_text": 152064, "n_code": 6562}
N_CODES_LAYER = 20
CONFIG = {  # as config.json states it
    "tts_config": {
        **{"hidden_size": CODES["n_embd"], "intermediate_size": CODES["n_ff"]},
        **{"num_hidden_layers": N_CODES_LAYER, "num_attention_heads": 12},
        **{"audio_bos_token_id": 151687, "text_eos_token_id": 151692},
    }
}
ENCODER = {
    **{
        "n_code": 6561,
        "n_input": 512,
        "n_mel": 80,
        "n_speaker": 192,
        "n_embd": 512,
        "n_head": 8,
        "d_head": 64,
    },
    **{"n_ff": 2048, "n_tap_ahead": 4, "n_tap_behind": 3},
}
N_ENCODER, N_UP_ENCODER, N_TAP_UP = 6, 4, 5
DIT = {
    **{"n_mel": 80, "n_embd": 512, "n_in": 320, "n_inner": 512, "d_head": 64, "n_ff": 2048, "n_time": 256},
    **{"n_modulation": 9 * 512, "n_final": 2 * 512, "n_tap": 3},
}
N_DIT = 16
# Of a vocoder: channels and kernel of an upsampling, kernels of its source's convolution and residual block.
STAGES = ((256, 16, 30, 7), (128, 11, 6, 7), (64, 7, 1, 11))
RESIDUAL_KERNELS = (3, 7, 11)
N_BIN, N_VOCODER, N_HARMONIC = 18, 512, 9

Shapes = Iterator[tuple[str, tuple[int, ...]]]
MakeTensor = Callable[[str, tuple[int, ...], str], Tensor]


class MadeUp:
    """As a checkpoint folder and a file of torch.save answer, with tensors that are made up."""

    def __init__(self, name: str, shapes: Shapes, make: MakeTensor) -> None:
        self.path = Path(name)
        self._shapes = dict(shapes)
        self._make = make
        self._taken: set[str] = set()

    def names(self) -> list[str]:
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name, ())

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.shape(name)
        check(found == shape, f"[full size] expected shape {[*shape]}, got {[*found]} ({name}, {self.path})")
        self._taken.add(name)
        return self._make(name, shape, "f32")

    def left(self) -> list[str]:
        return [name for name in self._shapes if name not in self._taken]


class FullSizeSpeech:
    def __init__(self, n_embd_llm: int, make: MakeTensor) -> None:
        self._config = Facts(CONFIG, "the full size")
        codes = MadeUp("codes", _codes(n_embd_llm), make)
        self._checkpoint = cast(Checkpoint, codes)
        self._tts = tts.read_sizes(self._config, self._checkpoint, n_embd_llm)
        self._flow = flow.Flow(cast(TorchFile, MadeUp(flow.FILE, _flow(), make)), Facts({}, flow.CONFIG))
        hift = MadeUp(vocoder.FILES[0], _vocoder(), make)
        self._generator = vocoder.Generator(cast(TorchFile, hift))
        self._vocoder = vocoder.read_sizes(self._generator, Facts({}, vocoder.CONFIG))

    def take_tensors(self) -> list[Tensor]:
        tensors = tts.take_tensors(self._checkpoint, self._tts) + self._flow.take_tensors()
        return tensors + vocoder.take_tensors(self._generator, self._vocoder)

    def write_keys(self, keys: Metadata) -> None:
        tts.write_keys(keys, self._config, self._tts)
        self._flow.write_keys(keys, self._config.section("tts_config"))
        keys.texts("minicpmo.t2w.vocoders", [vocoder.prefix_of(self._vocoder)])
        vocoder.write_keys(keys, self._vocoder, Facts({}, vocoder.CONFIG))


def _of_book(book: tuple[names.Page, ...], sizes: dict[str, int], n_layer: int = 0) -> Shapes:
    for page, layer in names.expand(book, n_layer):
        shape = page.shape_for(sizes)
        yield page.source.replace("{i}", str(layer)), shape[:1] + shape[:0:-1] if page.taps else shape


def _codes(n_embd_llm: int) -> Shapes:
    yield from _of_book(speech_names.TTS, {**CODES, "n_embd_llm": n_embd_llm}, N_CODES_LAYER)
    yield from _normed("tts.head_code.0", (CODES["n_code"], CODES["n_embd"]))


def _flow() -> Shapes:
    n_embd = ENCODER["n_embd"]
    yield from _of_book(speech_names.FLOW, ENCODER)
    yield from _of_book(speech_names.FLOW_BLOCKS, ENCODER, N_ENCODER)
    yield from _of_book(speech_names.FLOW_UP_BLOCKS, ENCODER, N_UP_ENCODER)
    yield from _convolution("encoder.up_layer.conv", (n_embd, n_embd, N_TAP_UP))
    yield from _of_book(speech_names.DIT, DIT, N_DIT)


def _vocoder() -> Shapes:
    yield from _normed("conv_pre", (N_VOCODER, ENCODER["n_mel"], 7), N_VOCODER)
    n_in = N_VOCODER
    for i, (n, up_kernel, down_kernel, source_kernel) in enumerate(STAGES):
        yield from _normed(f"ups.{i}", (n_in, n, up_kernel), n)
        yield from _convolution(f"source_downs.{i}", (n, N_BIN, down_kernel))
        yield from _residual(f"source_resblocks.{i}", n, source_kernel)
        for j, kernel in enumerate(RESIDUAL_KERNELS):
            yield from _residual(f"resblocks.{i * len(RESIDUAL_KERNELS) + j}", n, kernel)
        n_in = n
    yield from _normed("conv_post", (N_BIN, n_in, 7), N_BIN)
    for i in range(0, 10, 2):
        n_band = ENCODER["n_mel"] if i == 0 else N_VOCODER
        yield from _normed(f"f0_predictor.condnet.{i}", (N_VOCODER, n_band, 3), N_VOCODER)
    for name, n in (("f0_predictor.classifier", N_VOCODER), ("m_source.l_linear", N_HARMONIC)):
        yield from _convolution(name, (1, n))


def _residual(name: str, n: int, kernel: int) -> Shapes:
    for part in (1, 2):
        for j in range(3):
            yield from _normed(f"{name}.convs{part}.{j}", (n, n, kernel), n)
            yield f"{name}.activations{part}.{j}.alpha", (n,)


def _convolution(name: str, shape: tuple[int, ...]) -> Shapes:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _normed(name: str, shape: tuple[int, ...], n_bias: int = 0) -> Shapes:
    """Gain and direction; a bias where n_bias is not 0."""
    yield f"{name}.parametrizations.weight.original0", (shape[0], *(1 for _ in shape[1:]))
    yield f"{name}.parametrizations.weight.original1", shape
    if n_bias:
        yield f"{name}.bias", (n_bias,)
