"""HiFT in its original form: a spectrum and a sum of harmonics become a wave. Names are the official ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from demo.speech.spectrum import FRAME, N_MEL, RATE

N_EMBD, CHANNELS = 96, (64, 32, 32)
RATES, UP_KERNELS, DOWN = (8, 5, 3), (16, 11, 7), ((30, 15), (6, 3), (1, 1))
RES_KERNELS, SOURCE_KERNELS = (7,), (3, 3, 3)
DILATIONS = (1, 3, 5)
N_F0, N_HARMONIC = 64, 9
N_FFT, HOP = 16, 4
_SINE, _SIGMA, _VOICED = 0.1, 0.003, 10.0  # of harmonics, of noise beside them, Hz from which on
_SLOPE, _LAST_SLOPE, _LOUDEST, _MOST = 0.1, 0.01, 0.99, 100.0


class Snake(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(n))

    def forward(self, x: Tensor) -> Tensor:
        a = self.alpha[:, None]
        return x + torch.sin(a * x) ** 2 / (a + 1e-9)


class ResBlock(nn.Module):
    def __init__(self, n: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(n, n, kernel, dilation) for dilation in DILATIONS)
        self.convs2 = nn.ModuleList(_conv(n, n, kernel) for _ in DILATIONS)
        self.activations1 = nn.ModuleList(Snake(n) for _ in DILATIONS)
        self.activations2 = nn.ModuleList(Snake(n) for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        layers = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for snake1, conv1, snake2, conv2 in layers:
            x = x + conv2(snake2(conv1(snake1(x))))
        return x


class PitchPredictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(5):
            layers += [_conv(N_F0 if i else N_MEL, N_F0, 3), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(N_F0, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [n_batch, 80, n_frame] -> Hz [n_batch, n_frame]"""
        return self.classifier(self.condnet(mel).transpose(1, 2))[..., 0].abs()


class Source(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l_linear = nn.Linear(N_HARMONIC, 1)

    def forward(self, pitch: Tensor, noise: Tensor) -> Tensor:
        """pitch [n_batch, n_frame], noise [n_batch, n_sample, n_harmonic] -> [n_batch, n_sample]"""
        harmonics = pitch.double()[..., None] * torch.arange(1, N_HARMONIC + 1)
        cycles = FRAME * (harmonics / RATE % 1).cumsum(dim=1)
        cycles = F.interpolate(cycles.transpose(1, 2), scale_factor=FRAME, mode="linear").transpose(1, 2)
        sines = _SINE * torch.sin(2 * math.pi * (cycles % 1)).float()
        voiced = (pitch > _VOICED).float().repeat_interleave(FRAME, dim=1)[..., None]
        loudness = voiced * _SIGMA + (1 - voiced) * _SINE / 3
        return torch.tanh(self.l_linear(voiced * sines + loudness * noise))[..., 0]


class Vocoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_pre = _conv(N_MEL, N_EMBD, 7)
        n_in = (N_EMBD, *CHANNELS[:-1])
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(a, b, kernel, rate, (kernel - rate) // 2))
            for a, b, kernel, rate in zip(n_in, CHANNELS, UP_KERNELS, RATES, strict=True)
        )
        self.source_downs = nn.ModuleList(
            nn.Conv1d(N_FFT + 2, n, kernel, stride, stride // 2)
            for n, (kernel, stride) in zip(CHANNELS, DOWN, strict=True)
        )
        kernels = zip(CHANNELS, SOURCE_KERNELS, strict=True)
        self.source_resblocks = nn.ModuleList(ResBlock(n, kernel) for n, kernel in kernels)
        self.resblocks = nn.ModuleList(ResBlock(n, kernel) for n in CHANNELS for kernel in RES_KERNELS)
        self.conv_post = _conv(CHANNELS[-1], N_FFT + 2, 7)
        self.f0_predictor = PitchPredictor()
        self.m_source = Source()
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        with torch.no_grad():  # the wave begins as the harmonics, not louder than a voice
            self.m_source.l_linear.weight.fill_(1.0)
            self.m_source.l_linear.bias.zero_()

    def forward(self, mel: Tensor, pitch: Tensor, noise: Tensor) -> Tensor:
        """mel [n_batch, 80, n_frame], pitch [n_batch, n_frame] -> samples [n_batch, n_frame * 480]"""
        source = self.m_source(pitch, noise)
        bins = torch.stft(source, N_FFT, HOP, window=self.window, return_complex=True)
        bins = torch.cat([bins.real, bins.imag], dim=1)
        x = self.conv_pre(mel)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, _SLOPE))
            if i == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[i](self.source_downs[i](bins))
            n = len(RES_KERNELS)
            x = torch.stack([block(x) for block in self.resblocks[i * n : i * n + n]]).mean(dim=0)
        x = self.conv_post(F.leaky_relu(x, _LAST_SLOPE))
        half = N_FFT // 2 + 1
        magnitude, angle = x[:, :half].exp().clamp(max=_MOST), torch.sin(x[:, half:])
        wave = torch.istft(torch.polar(magnitude, angle), N_FFT, HOP, window=self.window)
        return wave.clamp(-_LOUDEST, _LOUDEST)


def _conv(n_in: int, n_out: int, kernel: int, dilation: int = 1) -> nn.Module:
    return weight_norm(
        nn.Conv1d(n_in, n_out, kernel, padding=(kernel - 1) * dilation // 2, dilation=dilation)
    )
