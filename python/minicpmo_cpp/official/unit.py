"""What the official duplex calls return for one second of a live conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexChunk

_RATE = 24000  # of what is said
_CODE_RATE = 25  # speech codes in a second
_STEPS = (
    "vision_process",
    "vision_embed",
    "vision_feed",
    "audio_process",
    "audio_embed",
    "audio_feed",
    "all",
)


def refusal(reason: str) -> dict[str, Any]:
    """Of streaming_prefill; what it costs is part of the next streaming_generate."""
    return {"success": False, "reason": reason} | {f"cost_{step}": 0.0 for step in _STEPS}


def silent_result(current_time: int, is_stopped: bool) -> dict[str, Any]:
    """Of a second in which nothing was read."""
    costs = dict.fromkeys(("cost_llm", "cost_tts_prep", "cost_tts", "cost_token2wav", "cost_all"), 0.0)
    return {
        "is_listen": True,
        "text": "",
        "audio_waveform": np.zeros(_RATE, np.float32),
        "end_of_turn": is_stopped,
        "current_time": current_time,
        **costs,
        "n_tokens": 0,
        "n_tts_tokens": 0,
    }


def unit_result(chunk: DuplexChunk) -> dict[str, Any]:
    """Of a second that was read."""
    samples, timings = chunk.audio, chunk.timings
    result = silent_result(chunk.unit + 1, chunk.end_of_turn) | {
        "is_listen": chunk.is_listen,
        "text": chunk.text,
        "cost_llm": timings.vision_s + timings.audio_s + timings.prefill_s + timings.decode_s,
        "cost_tts": timings.codes_s,
        "cost_token2wav": timings.flow_s + timings.vocoder_s,
        "cost_all": timings.total_s,
        "n_tokens": max(0, len(chunk.token_ids) - 2),  # neither the decision nor what ends the unit
    }
    if samples is not None:
        result |= {"audio_waveform": samples, "n_tts_tokens": len(samples) * _CODE_RATE // chunk.sample_rate}
    elif not chunk.is_listen:
        result["audio_waveform"] = None
    return result
