"""From sound to codes and back to a spectrum: the tokenizer and the flow, which learn together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from demo.speech.conformer import N_EMBD, N_INPUT, Conformer
from demo.speech.dit import Estimator
from demo.speech.spectrum import N_MEL
from demo.speech.tokenizer import N_DIGIT, SpeechTokenizer, all_digits

N_SPEAKER = 192
_MEAN = -6.0  # of logarithms of a spectrum: where suggestions begin


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.estimator = Estimator()


class Flow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # A code's row is a sum over its digits, so that a slope finds its way through the table.
        self.digits = nn.Linear(N_DIGIT, N_INPUT)
        self.spk_embed_affine_layer = nn.Linear(N_SPEAKER, N_MEL)
        self.encoder = Conformer()
        self.encoder_proj = nn.Linear(N_EMBD, N_MEL)
        nn.init.constant_(self.encoder_proj.bias, _MEAN)
        self.decoder = Decoder()

    def suggest(self, digits: Tensor) -> Tensor:
        """[n_batch, n_code, 8] -> spectrum [n_batch, 2 * n_code, 80]"""
        return self.encoder_proj(self.encoder(self.digits(digits)))

    @torch.no_grad()
    def official_state(self) -> dict[str, Tensor]:
        """As `flow.pt` has it: with a row for each code."""
        state = {name: values for name, values in self.state_dict().items() if not name.startswith("digits.")}
        return {"input_embedding.weight": self.digits(all_digits()), **state}


class Codec(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = SpeechTokenizer()
        self.flow = Flow()
