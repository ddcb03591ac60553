"""How much work speaking is.

Counted are products with weights, keys and values: each matrix as the file holds it, once for every row it is
given, and scores and weighted sums over the keys that a row may see, whatever is computed. Both branches of
the flow's guidance count, and so do the frames that a vocoder which overlaps its windows makes twice. Not
counted: what depends on no input and can be kept (projected positions, the modulation of each time), the
excitation, spectra, norms, activations, softmax, biases.
"""

from __future__ import annotations

import re

from minicpmo_cpp.bench.work import Matrices, Work, attention
from minicpmo_cpp.config import Config

BRANCHES = 2  # of the guidance: with and without the voice
HISTORY_S = 2.0  # of its own speech that the flow sees beside the voice
OVERLAP = 8  # mel frames of the last window that the original vocoder makes again
LINEARS = r"(attn_[qkv]|attn_out|ffn_up|ffn_down)\.weight"
CODE_HEAD, CODE_EMBEDDING, FLOW_INPUT = (
    "tts.head_code.weight",
    "tts.emb_code.weight",
    "t2w.input_embd.weight",
)


class SpeechWork:
    def __init__(self, matrices: Matrices, config: Config) -> None:
        self._matrices = matrices
        speech = config["speech"]
        self.code_rate: int = speech["code_rate"]
        self.chunk_codes: int = speech["chunk_codes"]
        self._up_rate: int = speech["frames_per_code"]
        self._n_lookahead: int = speech["n_lookahead"]
        self._is_causal: bool = speech["vocoder"] == "causal"
        self._vocoder = "t2w.hift_causal." if self._is_causal else "t2w.hift."

    def of_code(self) -> Work:
        """One code of the language model of codes. Of what is read, weights count, the cache does not."""
        layers = self._matrices.product(r"tts\.blk\.[0-9]+\..*\.weight")
        head = self._matrices.product(re.escape(CODE_HEAD))
        vectors = self._matrices.bytes_of(r"tts\.blk\.[0-9]+\..*|tts\.output_norm\.weight") - layers.n_byte
        return layers + head + Work(n_byte=vectors + self._matrices.row_bytes(CODE_EMBEDDING))

    def of_voice(self, n_code: int, n_step: int) -> Work:
        """Hearing a voice of so many codes at once."""
        return self._of_flow(n_code, 0, n_step)

    def of_window_flow(self, index: int, n_voice: int, n_step: int) -> Work:
        """The index-th window of a turn after a voice of so many codes."""
        history = round(HISTORY_S * self.code_rate)
        return self._of_flow(self.chunk_codes, n_voice + min(index * self.chunk_codes, history), n_step)

    def of_window_vocoder(self, index: int) -> Work:
        overlap = 0 if self._is_causal or index == 0 else OVERLAP
        rows = self.chunk_codes * self._up_rate + overlap
        total = self._vocoder_part(r"f0\..*|conv_pre", rows)
        for i in range(self._n_stage()):
            total += self._vocoder_part(rf"up\.{i}", rows)
            n_channel = self._matrices[f"{self._vocoder}source_res.{i}.conv1.0.weight"].n_row
            rows *= self._matrices[f"{self._vocoder}up.{i}.weight"].n_row // n_channel
            n_res = self._n_residual()
            which = "|".join(str(n_res * i + j) for j in range(n_res))
            total += self._vocoder_part(rf"source_down\.{i}|source_res\.{i}\..*|res\.({which})\..*", rows)
        return total + self._vocoder_part("conv_post", rows)

    def _of_flow(self, n: int, n_past: int, n_step: int) -> Work:
        """n codes that come out, after so many that the flow remembers, the voice's among them."""
        up, product = self._up_rate, self._matrices.product
        encoder = product(r"t2w\.enc\.embd\.weight", n + self._n_lookahead)
        encoder += product(r"t2w\.enc\.(lookahead[12]|up_conv)\.weight", n)  # a row of it makes `up`
        encoder += product(rf"t2w\.enc\.blk\.[0-9]+\.{LINEARS}", n)
        encoder += product(
            rf"t2w\.enc\.up_blk\.[0-9]+\.{LINEARS}|t2w\.(enc\.up_embd|enc_proj)\.weight", n * up
        )
        width = self._matrices["t2w.enc.embd.weight"].n_row
        n_pair = self._n_layer("enc.blk") * n * (n + n_past)
        n_pair += self._n_layer("enc.up_blk") * n * up * (n + n_past) * up
        encoder += attention(width, n_pair) + Work(real=2 * width * n_pair)  # scores of distances, too
        inner = self._matrices["t2w.dit.blk.0.attn_q.weight"].n_row
        n_row = BRANCHES * n * up
        step = product(
            rf"t2w\.dit\.blk\.[0-9]+\.({LINEARS}|conv[12]\.weight)|t2w\.dit\.(in|out)\.weight", n_row
        )
        step += attention(inner, self._n_layer("dit.blk") * n_row * (n + n_past) * up)
        return encoder + step * n_step

    def _n_layer(self, stack: str) -> int:
        return len(self._matrices.names(rf"t2w\.{re.escape(stack)}\.[0-9]+\.attn_q\.weight"))

    def _vocoder_part(self, pattern: str, n_row: int) -> Work:
        return self._matrices.product(rf"{re.escape(self._vocoder)}({pattern})\.weight", n_row)

    def _n_stage(self) -> int:
        return len(self._matrices.names(rf"{re.escape(self._vocoder)}up\.[0-9]+\.weight"))

    def _n_residual(self) -> int:
        """Residual blocks of a stage."""
        blocks = self._matrices.names(rf"{re.escape(self._vocoder)}res\.[0-9]+\.conv1\.0\.weight")
        return len(blocks) // self._n_stage()
