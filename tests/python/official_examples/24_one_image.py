"""MiniCPM-o 2.6: a picture, answered at once and piece by piece."""

from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained("model.gguf")
processor = model.processor
image = Image.open("second.jpg").convert("RGB")
msgs = [{"role": "user", "content": [image, "What is in the image?"]}]
inputs = processor.apply_chat_template(msgs=msgs).to(model.device)

res = model.generate(**inputs, processor=processor, sampling=True, max_new_tokens=1024)
print(res)

res = model.generate(**inputs, processor=processor, sampling=True, stream=True, max_new_tokens=1024)
generated_text = ""
for new_text in res:
    generated_text += new_text
    print(new_text, flush=True, end="")
