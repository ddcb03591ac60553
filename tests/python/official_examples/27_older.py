"""MiniCPM-o 2.6 before it had a processor: model.chat, and chunks with names."""

import librosa
import numpy as np
import soundfile as sf
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf").eval().cuda()
model.init_tts()
tokenizer = None

sys_msg = model.get_sys_prompt(mode="omni", language="en")
user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)
res = model.chat(
    msgs=[sys_msg, {"role": "user", "content": ["<unit>", user_audio]}],
    tokenizer=tokenizer,
    sampling=True,
    temperature=0.5,
    max_new_tokens=4096,
    omni_input=True,
    use_tts_template=True,
    generate_audio=True,
    output_audio_path="out_whole.wav",
    max_slice_nums=1,
    use_image_id=False,
    return_dict=True,
)
print(res.text)

model.reset_session()
for msg in (sys_msg, {"role": "user", "content": ["<unit>", user_audio]}):
    model.streaming_prefill(session_id="123", msgs=[msg], tokenizer=tokenizer)
audios = []
text = ""
for r in model.streaming_generate(
    session_id="123", tokenizer=tokenizer, temperature=0.5, generate_audio=True
):
    audios.append(r.audio_wav)
    sampling_rate = r.sampling_rate
    text += r.text
sf.write("out_streamed.wav", np.concatenate(audios), samplerate=sampling_rate)
print("text:", text)
