"""MiniCPM-o 4.5: load, and go from turns to live conversation and back."""

import torch
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained(
    "model.gguf",
    trust_remote_code=True,
    attn_implementation="sdpa",
    torch_dtype=torch.bfloat16,
    init_vision=True,
    init_audio=True,
    init_tts=True,
)
model.eval().cuda()
model.init_tts(streaming=False)

duplex_model = model.as_duplex()
simplex_model = duplex_model.as_simplex(reset_session=True)
print(simplex_model is model)
