"""MiniCPM-o 4.5: a text read out in a voice, with the roles that the official example gives."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
sys_msg = {
    "role": "assistant",
    "content": ["模仿音频样本的音色并生成新的内容。", ref_audio, "请用这种声音风格来为用户提供帮助。"],
}
user_msg = {"role": "user", "content": ["请朗读以下内容。" + " " + "The fog comes in at six."]}
res = model.chat(
    msgs=[sys_msg, user_msg],
    do_sample=True,
    max_new_tokens=512,
    use_tts_template=True,
    generate_audio=True,
    temperature=0.1,
    output_audio_path="out.wav",
)
print(res)
