"""MiniCPM-o 2.6: what is said in reply to what is said, in all the modes that the official examples have."""

import librosa
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts()
processor = model.processor

ref_audio, _ = librosa.load("voice.wav", sr=16000, mono=True)
user_audio, _ = librosa.load("question.wav", sr=16000, mono=True)


def sys_prompt(mode):
    return processor.get_sys_prompt(ref_audio=ref_audio, mode=mode, language="en")


conversations = {
    "out_mimick.wav": [{"role": "user", "content": ["Please repeat what each user says.", user_audio]}],
    "out_roleplay.wav": [sys_prompt("audio_roleplay"), {"role": "user", "content": [user_audio]}],
    "out_assistant.wav": [sys_prompt("audio_assistant"), {"role": "user", "content": [user_audio]}],
    "out_voice_creation.wav": [{"role": "user", "content": ["Speak like somebody who has the time."]}],
    "out_voice_cloning.wav": [
        sys_prompt("voice_cloning"),
        {"role": "user", "content": ["Please read the text below.", "The fog comes in at six."]},
    ],
    "out_audio_understanding.wav": [
        {"role": "user", "content": ["Summarize the main content of the audio.\n", user_audio]}
    ],
}
for output_audio_path, msgs in conversations.items():
    inputs = processor.apply_chat_template(msgs=msgs).to(model.device)
    res = model.generate(
        **inputs,
        processor=processor,
        sampling=True,
        max_new_tokens=128,
        use_tts_template=True,
        generate_audio=True,
        temperature=0.3,
        output_audio_path=output_audio_path,
    )
    print(res)
