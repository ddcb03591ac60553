"""MiniCPM-o 2.6: several pictures, and questions that were answered before."""

from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained("model.gguf")
processor = model.processor
image1 = Image.open("first.png").convert("RGB")
image2 = Image.open("second.jpg").convert("RGB")
compared = [{"role": "user", "content": [image1, image2, "What differs between image 1 and image 2?"]}]
few_shot = [
    {"role": "user", "content": [image1, "production date"]},
    {"role": "assistant", "content": ["2021.03.17"]},
    {"role": "user", "content": [image2, "production date"]},
]
for msgs in (compared, few_shot):
    inputs = processor.apply_chat_template(msgs=msgs).to(model.device)
    res = model.generate(**inputs, processor=processor, sampling=True, max_new_tokens=1024)
    print(res)
