"""MiniCPM-o 4.5: an assistant with the official prompt for a voice, in Chinese."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
sys_msg = model.get_sys_prompt(ref_audio=ref_audio, mode="audio_assistant", language="zh")
user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)
res = model.chat(
    msgs=[sys_msg, {"role": "user", "content": [user_audio]}],
    do_sample=True,
    max_new_tokens=512,
    use_tts_template=True,
    generate_audio=True,
    temperature=0.3,
    output_audio_path="out.wav",
)
print(res)
