"""MiniCPM-o 2.6: a video read whole, then read as it comes; both answers are spoken.

The official example takes frames and sound with moviepy.
"""

import librosa
import numpy as np
import soundfile as sf
from minicpmo.utils import get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf").eval().cuda()
model.init_tts()
processor = model.processor


def get_video_chunk_content(video_path, flatten=True):
    frames, sounds, _ = get_video_frame_audio_segments(video_path)
    contents = []
    for image, audio in zip(frames, sounds, strict=True):
        if flatten:
            contents.extend(["<unit>", image, audio])
        else:
            contents.append(["<unit>", image, audio])
    return contents


ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
sys_msg = processor.get_sys_prompt(ref_audio=ref_audio, mode="omni", language="en")
msgs = [sys_msg, {"role": "user", "content": get_video_chunk_content("clip.mp4")}]
inputs = processor.apply_chat_template(msgs=msgs).to(model.device)
res = model.generate(
    **inputs,
    processor=processor,
    sampling=True,
    temperature=0.5,
    max_new_tokens=4096,
    use_tts_template=True,
    generate_audio=True,
    output_audio_path="out_whole.wav",
    repetition_penalty=1.2,
)
print(res)

model.reset_session()
session_id = "123"
res = model.streaming_prefill(session_id=session_id, msgs=[sys_msg], processor=processor)
for content in get_video_chunk_content("clip.mp4", flatten=False):
    msgs = [{"role": "user", "content": content}]
    res = model.streaming_prefill(session_id=session_id, msgs=msgs, processor=processor)

for use_tts in (True, False):
    res = model.streaming_generate(
        session_id=session_id, processor=processor, use_tts=use_tts, tts_output_chunk_size=25
    )
    audios = []
    text = ""
    if use_tts:
        for r in res:
            audios.append(r.audio_wav)
            sampling_rate = r.sampling_rate
            text += r.text
        sf.write("out_streamed.wav", np.concatenate(audios), samplerate=sampling_rate)
    else:
        for r in res:
            text += r["text"]
    print("text:", text)
    model.streaming_prefill(session_id=session_id, msgs=[{"role": "user", "content": ["And now?"]}])
