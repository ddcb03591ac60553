"""MiniCPM-o 4.5: two rounds of speech with somebody whose voice and character are given."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
character = "You keep a lighthouse. You speak slowly, and you like fog."
sys_msg = {
    "role": "system",
    "content": ["Clone the voice in the provided audio prompt.", ref_audio, "Please chat. " + character],
}
user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)
msgs = [sys_msg, {"role": "user", "content": [user_audio]}]
for i in range(2):
    res = model.chat(
        msgs=msgs,
        do_sample=True,
        max_new_tokens=512,
        use_tts_template=True,
        generate_audio=True,
        temperature=0.7,
        output_audio_path=("out_first.wav", "out_second.wav")[i],
    )
    print(res)
    msgs.append({"role": "assistant", "content": res})
    msgs.append({"role": "user", "content": [librosa.load("question.wav", sr=16000, mono=True)[0]]})
