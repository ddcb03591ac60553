"""MiniCPM-o 4.5: an answer that begins when the user pauses, and is taken back when they go on."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=True)
user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)


def hear(samples, is_last_chunk):
    msgs = [{"role": "user", "content": [samples]}]
    return model.streaming_prefill(session_id="user", msgs=msgs, omni_mode=True, is_last_chunk=is_last_chunk)


print(hear(user_audio[:16000], False))
early = model.streaming_generate(
    session_id="user", generate_audio=False, do_sample=False, enable_speculative_snapshot=True
)
print(next(early))
print(model.has_speculative_snapshot(), model.restore_speculative_snapshot())
print(hear(user_audio[16000:], True))
answer = model.streaming_generate(session_id="user", generate_audio=False, do_sample=False)
print("".join(text for text, _ in answer))
