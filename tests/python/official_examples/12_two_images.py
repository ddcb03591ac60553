"""MiniCPM-o 4.5: two pictures compared."""

from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained("model.gguf")
image1 = Image.open("first.png").convert("RGB")
image2 = Image.open("second.jpg").convert("RGB")
msgs = [{"role": "user", "content": [image1, image2, "What differs between image 1 and image 2?"]}]
answer = model.chat(msgs=msgs, use_tts_template=False, enable_thinking=False)
print(answer)
