"""The speech side of a tiny MiniCPM-o 2.6 checkpoint, from seeds: tensors, tokenizer and assets/Vocos.pt.

Names are those of the published checkpoint, sizes are small. `tests/data/README.md` says what the official
code computes from it.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speech_files import write_torch

Values = NDArray[np.float32]

N_EMBD_LLM, N_EMBD, N_FF, N_HEAD, N_LAYER = 128, 64, 96, 4, 2
N_CODE, N_VQ, N_LEVEL, N_DIGIT = 626, 4, 5, 4  # 5^4 codes and their end
WIDTH, HIDDEN, STEM, N_BLOCK, N_MEL = 24, 20, 12, 3, 10  # of the DVAE; WIDTH of each of two groups
VOCOS_WIDTH, VOCOS_FF, N_VOCOS_BLOCK, N_FFT, HOP, RATE = 16, 48, 2, 32, 8, 24000

MARKS = ["[Sasr]", "[Pasr]", "[Easr]", "[Stts]", "[Ptts]", "[Etts]", "[Sbreak]", "[Pbreak]", "[Ebreak]"]
MARKS += ["[uv_break]", "[v_break]", "[lbreak]", "[llbreak]", "[undefine]", "[laugh]", "[spk_emb]"]
WORDS = ["the", "weather", "was", "calm", "this", "morning", "with", "a", "light", "wind", "##s", "##ing"]
WORDS += ["hello", "one", "two", "three", "four", "five", "##ed", "un", "##able", "good", "question", "will"]
HANZI = list("天气很好我们今去公园一二三四五六七八九零你请问说")


def vocabulary() -> list[str]:
    """By id. Letters alone and inside words, so that nothing but rare characters is unknown."""
    letters = list(string.ascii_lowercase + string.digits)
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *string.punctuation,
        "。",
        "，",
        "？",
        "！",
        *letters,
    ]
    tokens += [f"##{letter}" for letter in letters] + WORDS + HANZI
    tokens = list(dict.fromkeys(tokens))
    return tokens + MARKS


TOKENS = vocabulary()
IDS = {token: i for i, token in enumerate(TOKENS)}


def tts_config() -> dict[str, Any]:
    return {
        **{"llm_dim": N_EMBD_LLM, "hidden_size": N_EMBD, "intermediate_size": N_FF, "num_mel_bins": N_MEL},
        **{"num_attention_heads": N_HEAD, "num_hidden_layers": N_LAYER, "max_position_embeddings": 4096},
        **{"num_audio_tokens": N_CODE, "num_text_tokens": len(TOKENS), "num_vq": N_VQ},
        **{"use_speaker_embedding": True, "use_llm_hidden_state": False, "num_spk_embs": 1, "use_mlp": True},
        **{"spk_emb_token_id": IDS["[spk_emb]"], "audio_bos_token_id": IDS["[Ptts]"]},
        **{"text_eos_token_id": IDS["[Etts]"], "use_text": True, "streaming": True},
        **{"streaming_text_chunk_size": 10, "streaming_text_reserved_len": 200},
        **{"streaming_audio_chunk_size": 50, "top_p": 0.7, "top_k": 20, "repetition_penalty": 1.0},
    }


def _draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Values]:
    """Matrices by their width, so that no layer fades or grows; norms and gains around 1."""
    rng = np.random.RandomState(seed)  # whose streams numpy promises never to change
    tensors = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape)
        if name.endswith(("norm.weight", "layernorm.weight", "gamma", "coef", "original0")):
            values = 1 + 0.1 * values
        elif len(shape) == 1:
            values = 0.1 * values
        elif "emb_" not in name and "original" not in name:
            values = values / np.sqrt(np.prod(shape[1:]))
        bits = values.astype(np.float32).view(np.uint32) & 0xFFFF0000  # bfloat16, as a checkpoint stores them
        tensors[name] = bits.view(np.float32)
    return tensors


def _blocks(name: str, n: int, width: int, n_ff: int, scale: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(n):
        p = f"{name}.{i}."
        shapes |= {f"{p}{scale}": (width,), f"{p}dwconv.weight": (width, 1, 7), f"{p}dwconv.bias": (width,)}
        shapes |= {f"{p}norm.weight": (width,), f"{p}norm.bias": (width,)}
        shapes |= {f"{p}pwconv1.weight": (n_ff, width), f"{p}pwconv1.bias": (n_ff,)}
        shapes |= {f"{p}pwconv2.weight": (width, n_ff), f"{p}pwconv2.bias": (width,)}
    return shapes


def _stack(p: str, n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
    """An encoder or decoder of the DVAE."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{p}conv_in.0.weight": (STEM, n_in, 3),
        f"{p}conv_in.0.bias": (STEM,),
    }
    shapes |= {f"{p}conv_in.2.weight": (HIDDEN, STEM, 3), f"{p}conv_in.2.bias": (HIDDEN,)}
    shapes |= _blocks(f"{p}decoder_block", N_BLOCK, HIDDEN, 4 * HIDDEN, "coef")
    return shapes | {f"{p}conv_out.weight": (n_out, HIDDEN, 1)}


def dvae_tensors() -> dict[str, Values]:
    """Below `tts.dvae.`, with the encoder, which a converter drops."""
    shapes: dict[str, tuple[int, ...]] = {"coef": (1, N_MEL, 1)}
    shapes |= {"downsample_conv.0.weight": (WIDTH, N_MEL, 3), "downsample_conv.0.bias": (WIDTH,)}
    shapes |= {"downsample_conv.2.weight": (WIDTH, WIDTH, 4), "downsample_conv.2.bias": (WIDTH,)}
    shapes |= _stack("encoder.", WIDTH, 2 * WIDTH) | _stack("decoder.", WIDTH, WIDTH)
    shapes |= {"out_conv.weight": (N_MEL, WIDTH, 3)}
    for group in range(2):
        p = f"vq_layer.quantizer.rvqs.{group}."
        shapes |= {f"{p}project_in.weight": (N_DIGIT, WIDTH), f"{p}project_in.bias": (N_DIGIT,)}
        shapes |= {f"{p}project_out.weight": (WIDTH, N_DIGIT), f"{p}project_out.bias": (WIDTH,)}
    return _draw(shapes, 41)


def lm_tensors() -> dict[str, Values]:
    """Below `tts.`, without the DVAE."""
    shapes: dict[str, tuple[int, ...]] = {"emb_text.weight": (len(TOKENS), N_EMBD)}
    for q in range(N_VQ):
        shapes |= {f"emb_code.{q}.weight": (N_CODE, N_EMBD)}
        p = f"head_code.{q}.parametrizations.weight.original"
        shapes |= {f"{p}0": (N_CODE, 1), f"{p}1": (N_CODE, N_EMBD)}
    for i, n_in in ((1, N_EMBD_LLM), (2, N_EMBD)):
        shapes |= {f"projector.linear{i}.weight": (N_EMBD, n_in), f"projector.linear{i}.bias": (N_EMBD,)}
    shapes |= {"model.embed_tokens.weight": (32, N_EMBD), "model.norm.weight": (N_EMBD,)}
    for i in range(N_LAYER):
        p = f"model.layers.{i}."
        shapes |= {f"{p}{n}_layernorm.weight": (N_EMBD,) for n in ("input", "post_attention")}
        shapes |= {f"{p}self_attn.{n}_proj.weight": (N_EMBD, N_EMBD) for n in "qkvo"}
        shapes |= {f"{p}mlp.{n}_proj.weight": (N_FF, N_EMBD) for n in ("gate", "up")}
        shapes |= {f"{p}mlp.down_proj.weight": (N_EMBD, N_FF)}
    tensors = _draw(shapes, 42)
    tensors["head_code.0.parametrizations.weight.original0"][-1] = 1.25  # or speech would hardly ever end
    return tensors


def vocos_tensors() -> dict[str, Values]:
    """assets/Vocos.pt."""
    w = VOCOS_WIDTH
    shapes: dict[str, tuple[int, ...]] = {"backbone.embed.weight": (w, N_MEL, 7), "backbone.embed.bias": (w,)}
    shapes |= {"backbone.norm.weight": (w,), "backbone.norm.bias": (w,)}
    shapes |= _blocks("backbone.convnext", N_VOCOS_BLOCK, w, VOCOS_FF, "gamma")
    shapes |= {"backbone.final_layer_norm.weight": (w,), "backbone.final_layer_norm.bias": (w,)}
    shapes |= {"head.out.weight": (N_FFT + 2, w), "head.out.bias": (N_FFT + 2,)}
    shapes |= {"feature_extractor.mel_spec.spectrogram.window": (N_FFT,)}
    shapes |= {"feature_extractor.mel_spec.mel_scale.fb": (N_FFT // 2 + 1, N_MEL)}
    tensors = _draw(shapes, 43)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    return tensors | {"head.istft.window": window.astype(np.float32)}


def write_tokenizer(folder: Path, *, is_fast: bool = False) -> None:
    """What save_pretrained of transformers' BertTokenizerFast leaves, with or without tokenizer.json."""
    folder.mkdir(parents=True)
    n_plain = len(TOKENS) - len(MARKS)
    added = [*range(5), *range(n_plain, len(TOKENS))]
    entry = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    settings = {
        "added_tokens_decoder": {str(i): {"content": TOKENS[i], **entry} for i in added},
        **{"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
        **{"tokenizer_class": "BertTokenizer", "unk_token": "[UNK]"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(TOKENS[:n_plain]) + "\n", encoding="utf-8")
    if is_fast:
        fast = {
            "added_tokens": [{"id": i, "content": TOKENS[i], **entry} for i in added],
            "normalizer": {
                **{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True},
                **{"strip_accents": None, "lowercase": True},
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {
                **{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"},
                **{"max_input_chars_per_word": 100},
                "vocab": {token: i for i, token in enumerate(TOKENS[:n_plain])},
            },
        }
        (folder / "tokenizer.json").write_text(json.dumps(fast), encoding="utf-8")


def write_assets(checkpoint: Path) -> None:
    write_tokenizer(checkpoint / "assets" / "chattts_tokenizer")
    write_torch(checkpoint / "assets" / "Vocos.pt", vocos_tensors())


def speech_tensors() -> dict[str, Values]:
    """All of the checkpoint's tensors of speech."""
    dvae = {f"tts.dvae.{name}": values for name, values in dvae_tensors().items()}
    return {f"tts.{name}": values for name, values in lm_tensors().items()} | dvae
