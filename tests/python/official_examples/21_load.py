"""MiniCPM-o 2.6: load."""

import torch
from minicpmo_cpp.official import MiniCPMO, MiniCPMOProcessor

model = MiniCPMO.from_pretrained("model.gguf", attn_implementation="sdpa", dtype=torch.bfloat16)
model = model.eval().cuda()
model.init_tts()
model.tts.float()
processor = MiniCPMOProcessor.from_pretrained("openbmb/MiniCPM-o-2_6")
print(processor.get_sys_prompt(mode="omni", language="en"))
