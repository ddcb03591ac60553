"""MiniCPM-o 4.5: a picture, with nothing else loaded than what sees."""

import torch
from minicpmo_cpp.official import MiniCPMO
from PIL import Image

model = MiniCPMO.from_pretrained(
    "model.gguf",
    trust_remote_code=True,
    attn_implementation="sdpa",
    torch_dtype=torch.bfloat16,
    init_vision=True,
    init_audio=False,
    init_tts=False,
)
model.eval().cuda()

image = Image.open("first.png").convert("RGB")
msgs = [{"role": "user", "content": [image, "What is in the image?"]}]
print(model.chat(msgs=msgs, use_tts_template=False))
