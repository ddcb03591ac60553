"""MiniCPM-o 4.5: transcribe, and say the transcript."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

audio_input, _ = librosa.load("speech.mp3", sr=16000, mono=True)
task_prompt = "Please listen to the audio snippet carefully and transcribe the content.\n"
res = model.chat(
    msgs=[{"role": "user", "content": [task_prompt, audio_input]}],
    do_sample=True,
    max_new_tokens=512,
    use_tts_template=True,
    generate_audio=True,
    temperature=0.3,
    output_audio_path="out.wav",
)
print(res)
