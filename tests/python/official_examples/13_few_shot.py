"""MiniCPM-o 4.5: questions that were answered before the one that is asked."""

from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained("model.gguf")
question = "production date"
image1 = Image.open("first.png").convert("RGB")
image2 = Image.open("second.jpg").convert("RGB")
msgs = [
    {"role": "user", "content": [image1, question]},
    {"role": "assistant", "content": ["2021.03.17"]},
    {"role": "user", "content": [image2, question]},
    {"role": "assistant", "content": ["2019.11.30"]},
    {"role": "user", "content": [image1, question]},
]
answer = model.chat(msgs=msgs, use_tts_template=False, enable_thinking=False)
print(answer)
