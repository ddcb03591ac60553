"""MiniCPM-o 4.5: speech read a second at a time, and the answer's sound as it is made."""

import librosa
import numpy as np
import soundfile as sf
import torch
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
sys_msg = {
    "role": "system",
    "content": ["模仿输入音频中的声音特征。", ref_audio, "请用高自然度的方式和用户聊天。"],
}

model.init_tts(streaming=True)
model.reset_session(reset_token2wav_cache=True)
model.init_token2wav_cache(prompt_speech_16k=ref_audio)

session_id = "demo"
model.streaming_prefill(session_id=session_id, msgs=[sys_msg], omni_mode=False, is_last_chunk=False)

user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)
num_chunks = (len(user_audio) + 16000 - 1) // 16000
for i in range(num_chunks):
    model.streaming_prefill(
        session_id=session_id,
        msgs=[{"role": "user", "content": [user_audio[i * 16000 : (i + 1) * 16000]]}],
        omni_mode=False,
        is_last_chunk=i == num_chunks - 1,
    )

audio_iter = model.streaming_generate(
    session_id=session_id, generate_audio=True, max_new_tokens=512, do_sample=True, length_penalty=1.1
)
audio_chunks = []
for generated_audio in audio_iter:
    if generated_audio is None:
        break
    if isinstance(generated_audio, tuple):
        generated_audio = generated_audio[0]
        if generated_audio is None:
            break
    if isinstance(generated_audio, torch.Tensor):
        wav = generated_audio.detach().cpu().numpy()
    else:
        wav = np.asarray(generated_audio)
    if wav.ndim == 2:
        wav = wav[0]
    audio_chunks.append(wav.astype(np.float32))

sf.write("out.wav", np.concatenate(audio_chunks, axis=-1), 24000)
print(len(audio_chunks), "chunks")
