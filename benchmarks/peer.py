"""Measures llama.cpp through the C interface of llama-cpp-python; bench.py starts it with that Python."""

from __future__ import annotations

import ctypes
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp
from protocol import N_TEXT, SEED, SIDE, serve

MARKER = b"<__media__>"
IMAGE = 1  # MTMD_INPUT_CHUNK_TYPE_IMAGE


class Peer:
    def __init__(self) -> None:
        self._random = np.random.default_rng(SEED)
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)  # the library keeps it
        llama_cpp.llama_log_set(self._quiet, None)
        llama_cpp.llama_backend_init()

    def load(
        self, *, llm: str, mmproj: str | None, n_threads: int, n_ctx: int, use_extra_bufts: bool
    ) -> dict[str, Any]:
        self._n_ctx = n_ctx
        begin = perf_counter()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = use_extra_bufts
        params.n_gpu_layers = 0
        self._model = _made(llama_cpp.llama_model_load_from_file(llm.encode(), params), llm)
        self._context = _made(
            llama_cpp.llama_init_from_model(self._model, self._context_params(n_ctx, n_threads)), llm
        )
        if mmproj is not None:
            self._mtmd = self._open_mtmd(mmproj, n_threads)
        seconds = perf_counter() - begin
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        return {"s": seconds, "version": llama_cpp.__version__}

    def vision(self) -> dict[str, Any]:
        """From pixels to the embeddings that the language model reads."""
        pixels = self._pixels()
        begin = perf_counter()
        chunks, failed = self._tokenized(pixels, MARKER)
        n_image = 0
        for i in range(0 if failed else mtmd_cpp.mtmd_input_chunks_size(chunks)):
            chunk = mtmd_cpp.mtmd_input_chunks_get(chunks, i)
            if mtmd_cpp.mtmd_input_chunk_get_type(chunk) == IMAGE:
                failed = failed or mtmd_cpp.mtmd_encode_chunk(self._mtmd, chunk)
                n_image += 1
        seconds = perf_counter() - begin
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        if failed or n_image != 1:
            raise RuntimeError(f"[bench] expected one encoded slice, got {n_image} (status {failed})")
        return {"s": seconds}

    def first_token(self) -> dict[str, Any]:
        """From a picture of one slice and so many tokens of text to the first of the answer."""
        pixels = self._pixels()
        digits = "".join(str(n) for n in self._random.integers(0, 10, N_TEXT))  # a token each
        llama_cpp.llama_memory_clear(self._memory, True)
        begin = perf_counter()
        chunks, failed = self._tokenized(pixels, MARKER + digits.encode())
        n_past = llama_cpp.llama_pos(0)
        failed = failed or mtmd_cpp.mtmd_helper_eval_chunks(
            self._mtmd, self._context, chunks, 0, 0, self._n_ctx, True, ctypes.byref(n_past)
        )
        if not failed:
            logits = llama_cpp.llama_get_logits_ith(self._context, -1)
            np.argmax(np.ctypeslib.as_array(logits, (self._n_vocab,)))
        seconds = perf_counter() - begin
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        if failed:
            raise RuntimeError(f"[bench] expected a prompt that is read, got status {failed}")
        return {"s": seconds, "n_prompt": n_past.value}

    def _pixels(self) -> Any:
        return self._random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def _tokenized(self, pixels: Any, prompt: bytes) -> tuple[Any, int]:
        """The prompt's chunks, which the caller frees, and what mtmd_tokenize returned."""
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        text = mtmd_cpp.mtmd_input_text(text=prompt, add_special=False, parse_special=True)
        if hasattr(text, "text_len"):
            text.text_len = len(prompt)
        bitmap = mtmd_cpp.mtmd_bitmap_init(SIDE, SIDE, data)
        bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        failed = mtmd_cpp.mtmd_tokenize(self._mtmd, chunks, ctypes.byref(text), bitmaps, 1)
        mtmd_cpp.mtmd_bitmap_free(bitmap)
        return chunks, failed

    def prefill(self, *, n_token: int) -> dict[str, Any]:
        """So many tokens into an empty context, up to the first logits."""
        llama_cpp.llama_memory_clear(self._memory, True)
        ids = self._random.integers(0, self._n_vocab, n_token).tolist()
        return {"s": self._read([ids])}

    def decode(self, *, n_token: int) -> dict[str, Any]:
        """Tokens after what was read last, one by one, without sampling."""
        ids = self._random.integers(0, self._n_vocab, n_token + 1).tolist()
        self._read([ids[:1]])  # warms up
        return {"s": self._read([[i] for i in ids[1:]])}

    def _read(self, batches: list[list[int]]) -> float:
        arrays = [(llama_cpp.llama_token * len(ids))(*ids) for ids in batches]
        failed = 0
        begin = perf_counter()
        for array in arrays:
            batch = llama_cpp.llama_batch_get_one(array, len(array))
            failed = failed or llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_synchronize(self._context)
        seconds = perf_counter() - begin
        if failed:
            raise RuntimeError(f"[bench] expected llama_decode to succeed, got status {failed}")
        return seconds

    @staticmethod
    def _context_params(n_ctx: int, n_threads: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = max(params.n_batch, n_ctx)  # a prompt in one call; n_ubatch stays as it is
        params.n_threads = params.n_threads_batch = n_threads
        params.no_perf = True
        return params

    def _open_mtmd(self, path: str, n_threads: int) -> Any:
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu = params.print_timings = False
        params.warmup = False  # bench.py warms up, apart from loading
        params.n_threads = n_threads
        params.media_marker = MARKER
        return _made(mtmd_cpp.mtmd_init_from_file(path.encode(), self._model, params), path)


def _made(handle: Any, path: str) -> Any:
    if not handle:
        raise RuntimeError(f"[bench] expected a file that llama.cpp opens, got {path}")
    return handle


if __name__ == "__main__":
    serve(Peer())
