"""Vocos: a log-mel spectrum to samples. A file of torch.save beside the checkpoint."""

from __future__ import annotations

import numpy as np

from minicpmo_convert.components.convnext import ConvNext
from minicpmo_convert.error import check
from minicpmo_convert.folding import exact
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.names import Page, take
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_file import TorchFile

SAMPLE_RATE, OVERLAP = 24000, 4  # hops in a frame; the reference writes both into its code
IGNORED = ("feature_extractor.",)  # what turns sound into spectra


class Vocos:
    """Sizes are those of the tensors."""

    def __init__(self, file: TorchFile) -> None:
        self._file = file
        self.blocks = ConvNext(file, "backbone.convnext", "vocos.blk", "gamma", dilation=1)
        kernel = file.shape("backbone.embed.weight")
        good = len(kernel) == 3 and kernel[2] == self.blocks.n_tap
        check(good, f"[vocos] expected {self.blocks.n_tap} taps, got shape {[*kernel]} ({file.path.name})")
        self.n_mel = kernel[1]
        self.n_fft = next(iter(file.shape("head.istft.window")), 0)
        good = self.n_fft >= 8 and self.n_fft % (2 * OVERLAP) == 0
        check(good, f"[vocos] expected frames of 8 samples or more, got {self.n_fft} ({file.path.name})")

    def take_tensors(self) -> list[Tensor]:
        sizes = {"n_embd": self.blocks.n_embd, "n_tap": self.blocks.n_tap, "n_mel": self.n_mel}
        sizes["n_out"] = self.n_fft + 2
        pages = (
            Page("vocos.conv.weight", "backbone.embed.weight", ("n_embd", "n_tap", "n_mel"), taps=True),
            Page("vocos.conv.bias", "backbone.embed.bias", ("n_embd",)),
            Page("vocos.ln.weight", "backbone.norm.weight", ("n_embd",)),
            Page("vocos.ln.bias", "backbone.norm.bias", ("n_embd",)),
            Page("vocos.output_norm.weight", "backbone.final_layer_norm.weight", ("n_embd",)),
            Page("vocos.output_norm.bias", "backbone.final_layer_norm.bias", ("n_embd",)),
            Page("vocos.out.weight", "head.out.weight", ("n_out", "n_embd")),
            Page("vocos.out.bias", "head.out.bias", ("n_out",)),
        )
        self._check_window()
        tensors = [take(page, self._file, sizes) for page in pages] + self.blocks.take_tensors()
        for name in self._file.left():
            good = name.startswith(IGNORED)
            check(good, f"[vocos] expected only tensors of Vocos, got {name!r} ({self._file.path.name})")
        return tensors

    def _check_window(self) -> None:
        """The runtime computes it."""
        found = exact(self._file.take("head.istft.window", (self.n_fft,)))
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        good = bool(np.abs(found - hann).max() < 1e-5)
        check(good, f"[vocos] expected a Hann window, got another ({self._file.path.name})")

    def write_keys(self, keys: Metadata) -> None:
        keys.u32("minicpmo.vocos.n_mel", self.n_mel)
        keys.u32("minicpmo.vocos.n_fft", self.n_fft)
        keys.u32("minicpmo.vocos.hop_length", self.n_fft // OVERLAP)
        keys.u32("minicpmo.vocos.sample_rate", SAMPLE_RATE)
        self.blocks.write_keys(keys, "minicpmo.vocos.")
