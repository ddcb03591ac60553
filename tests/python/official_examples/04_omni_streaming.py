"""MiniCPM-o 4.5: a video read as it comes, and answers as they are written and as they are spoken."""

import librosa
import numpy as np
import soundfile as sf
import torch
from minicpmo.utils import get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=True)
model.reset_session()

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
model.init_token2wav_cache(ref_audio)

session_id = "demo"
video_frames, audio_segments, stacked_frames = get_video_frame_audio_segments("clip.mp4", stack_frames=1)
omni_contents = []
for i in range(len(video_frames)):
    omni_contents.append(video_frames[i])
    omni_contents.append(audio_segments[i])
    if stacked_frames is not None and stacked_frames[i] is not None:
        omni_contents.append(stacked_frames[i])

sys_msg = model.get_sys_prompt(ref_audio=ref_audio, mode="omni", language="en")
model.streaming_prefill(session_id=session_id, msgs=[sys_msg])

audio_indices = [i for i, content in enumerate(omni_contents) if isinstance(content, np.ndarray)]
for generate_audio in (False, True):
    for i, content in enumerate(omni_contents):
        model.streaming_prefill(
            session_id=session_id,
            msgs=[{"role": "user", "content": [content]}],
            omni_mode=True,
            is_last_chunk=i == audio_indices[-1],
        )
    iter_gen = model.streaming_generate(
        session_id=session_id,
        generate_audio=generate_audio,
        use_tts_template=True,
        enable_thinking=False,
        do_sample=True,
    )
    audios = []
    text = ""
    if generate_audio:
        for wav_chunk, text_chunk in iter_gen:
            audios.append(wav_chunk)
            text += text_chunk
        generated_waveform = torch.cat(audios, dim=-1)[0]
        sf.write("out.wav", generated_waveform.cpu().numpy(), samplerate=24000)
    else:
        for text_chunk, _is_finished in iter_gen:
            text += text_chunk
    print("Text:", text)
