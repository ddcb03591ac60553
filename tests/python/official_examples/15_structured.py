"""MiniCPM-o 4.5: content as objects, as OpenAI has it, and both together."""

import librosa
from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained("model.gguf")
pil_image = Image.open("first.png").convert("RGB")
audio_ndarray, _ = librosa.load("question.wav", sr=16000, mono=True)
native = [pil_image, audio_ndarray, "Describe this."]
structured = [
    {"type": "image_url", "image_url": {"url": "first.png"}},
    {"type": "audio_url", "audio_url": {"url": "question.wav"}},
    {"type": "video_url", "video_url": {"url": "clip.mp4", "stack_frames": 1, "use_audio": True}},
    {"type": "text", "text": "Describe this."},
]
for content in (native, structured, [pil_image, *structured]):
    print(model.chat(msgs=[{"role": "user", "content": content}]))
