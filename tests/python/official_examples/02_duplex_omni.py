"""MiniCPM-o 4.5: a live conversation about a video."""

import librosa
import torch
from minicpmo.utils import generate_duplex_video, get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained(
    "model.gguf", trust_remote_code=True, attn_implementation="sdpa", torch_dtype=torch.bfloat16
)
model.eval().cuda()
model = model.as_duplex()

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
video_frames, audio_segments, stacked_frames = get_video_frame_audio_segments(
    "clip.mp4", stack_frames=1, use_ffmpeg=True, adjust_audio_length=True
)
model.prepare(
    prefix_system_prompt="Streaming Omni Conversation.",
    ref_audio=ref_audio,
    prompt_wav_path="voice.wav",
)

results_log = []
timed_output_audio = []
for i, audio_chunk in enumerate(audio_segments):
    frame_list = [video_frames[i]] if i < len(video_frames) else []
    if stacked_frames is not None and stacked_frames[i] is not None:
        frame_list.append(stacked_frames[i])
    model.streaming_prefill(
        audio_waveform=audio_chunk,
        frame_list=frame_list,
        max_slice_nums=1,
        batch_vision_feed=False,
    )
    result = model.streaming_generate(
        prompt_wav_path="voice.wav",
        max_new_speak_tokens_per_chunk=20,
        decode_mode="sampling",
    )
    if result["audio_waveform"] is not None:
        timed_output_audio.append((i, result["audio_waveform"]))
    results_log.append(
        {
            "chunk_idx": i,
            "is_listen": result["is_listen"],
            "text": result["text"],
            "end_of_turn": result["end_of_turn"],
            "current_time": result["current_time"],
            "audio_length": len(result["audio_waveform"]) if result["audio_waveform"] is not None else 0,
        }
    )
    print("listen..." if result["is_listen"] else f"speak> {result['text']}")

generate_duplex_video(
    video_path="clip.mp4",
    output_video_path="out.mp4",
    results_log=results_log,
    timed_output_audio=timed_output_audio,
    output_sample_rate=24000,
)
