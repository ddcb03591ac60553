"""What llama-cpp-python makes of a picture: LLM.gguf MMPROJ.gguf PIXELS.npy OUT.npy [exact].

With `exact` attention is not its flash attention, which rounds keys and values to half precision.
"""

import ctypes
import sys

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd

IMAGE_CHUNK = 1  # MTMD_INPUT_CHUNK_TYPE_IMAGE

llm, mmproj, source, target, *rest = sys.argv[1:]
model = llama_cpp.Llama(llm, n_ctx=512, n_threads=2, verbose=False)
parameters = mtmd.mtmd_context_params_default()
parameters.n_threads, parameters.use_gpu, parameters.warmup = 2, False, False
if rest == ["exact"]:
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
context = mtmd.mtmd_init_from_file(mmproj.encode(), model.model, parameters)
pixels = np.ascontiguousarray(np.load(source))
height, width, _ = pixels.shape
bitmap = mtmd.mtmd_bitmap_init(width, height, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
chunks = mtmd.mtmd_input_chunks_init()
text = mtmd.mtmd_input_text()
text.text = b"<__media__>"
text.text_len = len(text.text)
text.add_special, text.parse_special = False, True
bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
assert mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1) == 0
for i in range(mtmd.mtmd_input_chunks_size(chunks)):
    chunk = mtmd.mtmd_input_chunks_get(chunks, i)
    if mtmd.mtmd_input_chunk_get_type(chunk) == IMAGE_CHUNK:
        assert mtmd.mtmd_encode_chunk(context, chunk) == 0
        shape = mtmd.mtmd_input_chunk_get_n_tokens(chunk), llama_cpp.llama_model_n_embd(model.model)
        np.save(target, np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), shape=shape))
        break
