"""MiniCPM-o 4.5: say it as I said it. There is no other voice than that of the question."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

audio_input, _ = librosa.load("speech.mp3", sr=16000, mono=True)
msgs = [
    {"role": "system", "content": ["You answer in voice and text, and say nothing else."]},
    {
        "role": "user",
        "content": ["Please repeat the following speech in the appropriate language.", audio_input],
    },
]
res = model.chat(
    msgs=msgs,
    do_sample=True,
    max_new_tokens=512,
    use_tts_template=True,
    temperature=0.1,
    generate_audio=True,
    output_audio_path="out.wav",
)
print(res)
