"""How much arithmetic speaking takes: 2 FLOP per multiply-add, from the shapes of the model file's matrices.

Counted are products with weights, keys and values: each matrix as the file holds it, once for every row it is
given, and scores and weighted sums over the keys that a row may see, whatever is computed. Both branches of
the flow's guidance count, and so do the frames that a vocoder which overlaps its windows makes twice. Not
counted: what depends on no input and can be kept (projected positions, the modulation of each time), the
excitation, spectra, norms, activations, softmax, biases.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from gguf import GGUFReader

ORIGINAL, CAUSAL = "hift", "hift_causal"  # vocoders
BRANCHES = 2  # of the guidance: with and without the voice
HISTORY_S = 2.0  # of its own speech that the flow sees beside the voice
OVERLAP = 8  # mel frames of the last window that the original vocoder makes again
SCORES = 3  # products of a row and a key in the flow's encoder: score, score of the distance, weighted sum


@dataclass(frozen=True)
class VoiceShape:
    """What the measuring process makes up."""

    n_code: int  # there are, the end not among them
    n_mel: int
    n_speaker: int
    code_rate: int
    up_rate: int  # mel frames of a code
    chunk_codes: int
    n_lookahead: int


class SpeechWork:
    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        tensors = [tensor for tensor in reader.tensors if tensor.name.startswith(("tts.", "t2w."))]
        # [columns, rows]
        self._matrices = {
            tensor.name: (int(tensor.shape[0]), int(tensor.shape[1]))
            for tensor in tensors
            if len(tensor.shape) == 2 and tensor.name.endswith(".weight")
        }
        self._bytes = {tensor.name: int(tensor.n_bytes) for tensor in tensors}
        keys = {name: field.contents() for name, field in reader.fields.items()}
        flow = "minicpmo.t2w."
        self.voice = VoiceShape(
            n_code=keys[f"{flow}vocab_size"],
            n_mel=keys[f"{flow}n_mel"],
            n_speaker=keys[f"{flow}speaker_length"],
            code_rate=keys[f"{flow}token_rate"],
            up_rate=keys[f"{flow}up_rate"],
            chunk_codes=keys[f"{flow}chunk_tokens"],
            n_lookahead=keys[f"{flow}pre_lookahead"],
        )
        self._n_layer = {
            name: int(keys[f"minicpmo.{name}"])
            for name in ("t2w.enc.block_count", "t2w.enc.up_block_count", "t2w.dit.block_count")
        }
        is_causal = CAUSAL in keys[f"{flow}vocoders"]  # the engine's choice where a file has both
        self._vocoder = f"t2w.{CAUSAL if is_causal else ORIGINAL}."

    def settings(self) -> dict[str, int]:
        return asdict(self.voice)

    def code_bytes(self) -> int:
        """Bytes of weights that one code reads: layers, last norm, head, a row of the embedding."""
        layers = sum(size for name, size in self._bytes.items() if name.startswith("tts.blk."))
        embedding = "tts.emb_code.weight"
        row = self._bytes[embedding] // self._matrices[embedding][1]
        return layers + self._bytes["tts.output_norm.weight"] + self._bytes["tts.head_code.weight"] + row

    def of_voice(self, n_code: int, n_step: int) -> int:
        """FLOP of hearing a voice of so many codes at once."""
        return self._of_flow(n_code, 0, n_step)

    def of_window_flow(self, index: int, n_voice: int, n_step: int) -> int:
        """FLOP of the index-th window of a turn after a voice of so many codes."""
        voice = self.voice
        history = round(HISTORY_S * voice.code_rate)
        return self._of_flow(voice.chunk_codes, n_voice + min(index * voice.chunk_codes, history), n_step)

    def of_window_vocoder(self, index: int) -> int:
        overlap = OVERLAP if self._vocoder == f"t2w.{ORIGINAL}." and index > 0 else 0
        n_frame = self.voice.chunk_codes * self.voice.up_rate + overlap
        rate, total = 1, self._vocoder_part(r"f0\..*|conv_pre")
        for i in range(self._n_stage()):
            total += rate * self._vocoder_part(rf"up\.{i}")
            n_channel = self._matrices[f"{self._vocoder}source_res.{i}.conv1.0.weight"][1]
            rate *= self._matrices[f"{self._vocoder}up.{i}.weight"][1] // n_channel
            n_res = self._n_residual()
            which = "|".join(str(n_res * i + j) for j in range(n_res))
            total += rate * self._vocoder_part(rf"source_down\.{i}|source_res\.{i}\..*|res\.({which})\..*")
        return 2 * n_frame * (total + rate * self._vocoder_part("conv_post"))

    def _of_flow(self, n: int, n_past: int, n_step: int) -> int:
        """n codes that come out, after so many that the flow remembers, the voice's among them."""
        up, linears = self.voice.up_rate, r"(attn_[qkv]|attn_out|ffn_up|ffn_down)\.weight"
        encoder = (n + self.voice.n_lookahead) * self._products(r"t2w\.enc\.embd\.weight")
        encoder += n * self._products(r"t2w\.enc\.(lookahead[12]|up_conv)\.weight")  # a row of it makes `up`
        encoder += n * self._products(rf"t2w\.enc\.blk\.[0-9]+\.{linears}")
        encoder += (
            n
            * up
            * self._products(rf"t2w\.enc\.up_blk\.[0-9]+\.{linears}|t2w\.(enc\.up_embd|enc_proj)\.weight")
        )
        width = self._matrices["t2w.enc.embd.weight"][1]
        pairs = self._n_layer["t2w.enc.block_count"] * n * (n + n_past)
        pairs += self._n_layer["t2w.enc.up_block_count"] * n * up * (n + n_past) * up
        encoder += SCORES * width * pairs
        inner = self._matrices["t2w.dit.blk.0.attn_q.weight"][1]
        row = self._products(
            rf"t2w\.dit\.blk\.[0-9]+\.({linears}|conv[12]\.weight)|t2w\.dit\.(in|out)\.weight"
        )
        row += self._n_layer["t2w.dit.block_count"] * 2 * inner * (n + n_past) * up
        return 2 * (encoder + n_step * BRANCHES * n * up * row)

    def _products(self, pattern: str) -> int:
        """Multiply-adds of one row with every matrix of that name."""
        found = [math.prod(shape) for name, shape in self._matrices.items() if re.fullmatch(pattern, name)]
        if not found:
            raise ValueError(f"[bench] expected matrices {pattern}, got none")
        return sum(found)

    def _vocoder_part(self, pattern: str) -> int:
        return self._products(rf"{re.escape(self._vocoder)}({pattern})\.weight")

    def _n_stage(self) -> int:
        return sum(
            re.fullmatch(rf"{re.escape(self._vocoder)}up\.[0-9]+\.weight", n) is not None
            for n in self._matrices
        )

    def _n_residual(self) -> int:
        """Residual blocks of a stage."""
        pattern = rf"{re.escape(self._vocoder)}res\.[0-9]+\.conv1\.0\.weight"
        return sum(re.fullmatch(pattern, name) is not None for name in self._matrices) // self._n_stage()
