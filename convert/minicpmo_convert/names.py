"""The name book: a tensor's name in GGUF, its name in the checkpoint, its shape in symbols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minicpmo_convert.tensor import Source, Tensor

MAX_NAME = 63  # ggml keeps 64 bytes with the closing zero


@dataclass(frozen=True)
class Page:
    """One tensor, or one per layer where the names hold {i}."""

    name: str
    source: str
    shape: tuple[str, ...]  # of the tensor in GGUF, slowest dimension first
    third: int | None = (
        None  # the source packs three such tensors along its first dimension; this is the index
    )
    transposed: bool = False  # the source is stored the other way round
    # A convolution, [n_out, n_in, n_tap] in the source: the last two dimensions of `shape` become one.
    taps: bool = False

    def name_of(self, layer: int | None) -> str:
        name = self.name.replace("{i}", str(layer))
        assert len(name.encode()) <= MAX_NAME
        return name

    def shape_for(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sizes[symbol] for symbol in self.shape)


def _linear(name: str, source: str, n_out: str, n_in: str) -> tuple[Page, Page]:
    return (
        Page(f"{name}.weight", f"{source}.weight", (n_out, n_in)),
        Page(f"{name}.bias", f"{source}.bias", (n_out,)),
    )


def _norm(name: str, source: str, n: str) -> tuple[Page, Page]:
    return Page(f"{name}.weight", f"{source}.weight", (n,)), Page(f"{name}.bias", f"{source}.bias", (n,))


_LAYER = "llm.model.layers.{i}"
LLM = (
    Page("token_embd.weight", "llm.model.embed_tokens.weight", ("n_vocab", "n_embd")),
    Page("blk.{i}.attn_norm.weight", f"{_LAYER}.input_layernorm.weight", ("n_embd",)),
    Page("blk.{i}.attn_q.weight", f"{_LAYER}.self_attn.q_proj.weight", ("n_q", "n_embd")),
    Page("blk.{i}.attn_k.weight", f"{_LAYER}.self_attn.k_proj.weight", ("n_kv", "n_embd")),
    Page("blk.{i}.attn_v.weight", f"{_LAYER}.self_attn.v_proj.weight", ("n_kv", "n_embd")),
    Page("blk.{i}.attn_output.weight", f"{_LAYER}.self_attn.o_proj.weight", ("n_embd", "n_q")),
    Page("blk.{i}.ffn_norm.weight", f"{_LAYER}.post_attention_layernorm.weight", ("n_embd",)),
    Page("blk.{i}.ffn_gate.weight", f"{_LAYER}.mlp.gate_proj.weight", ("n_ff", "n_embd")),
    Page("blk.{i}.ffn_up.weight", f"{_LAYER}.mlp.up_proj.weight", ("n_ff", "n_embd")),
    Page("blk.{i}.ffn_down.weight", f"{_LAYER}.mlp.down_proj.weight", ("n_embd", "n_ff")),
    Page("output_norm.weight", "llm.model.norm.weight", ("n_embd",)),
)
# Queries, keys and values of some members.
LLM_BIAS = tuple(
    Page(f"blk.{{i}}.attn_{part}.bias", f"{_LAYER}.self_attn.{part}_proj.bias", (size,))
    for part, size in (("q", "n_q"), ("k", "n_kv"), ("v", "n_kv"))
)
LLM_QK_NORM = tuple(
    Page(f"blk.{{i}}.attn_{part}_norm.weight", f"{_LAYER}.self_attn.{part}_norm.weight", ("d_head",))
    for part in "qk"
)
LLM_HEAD = Page("output.weight", "llm.lm_head.weight", ("n_vocab", "n_embd"))

_BLOCK = "vpm.encoder.layers.{i}"
VISION = (
    Page(
        "v.patch_embd.weight",
        "vpm.embeddings.patch_embedding.weight",
        ("n_embd", "n_channel", "patch_size", "patch_size"),
    ),
    Page("v.patch_embd.bias", "vpm.embeddings.patch_embedding.bias", ("n_embd",)),
    Page("v.position_embd.weight", "vpm.embeddings.position_embedding.weight", ("n_position", "n_embd")),
    *_norm("v.blk.{i}.ln1", f"{_BLOCK}.layer_norm1", "n_embd"),
    *_linear("v.blk.{i}.attn_q", f"{_BLOCK}.self_attn.q_proj", "n_embd", "n_embd"),
    *_linear("v.blk.{i}.attn_k", f"{_BLOCK}.self_attn.k_proj", "n_embd", "n_embd"),
    *_linear("v.blk.{i}.attn_v", f"{_BLOCK}.self_attn.v_proj", "n_embd", "n_embd"),
    *_linear("v.blk.{i}.attn_out", f"{_BLOCK}.self_attn.out_proj", "n_embd", "n_embd"),
    *_norm("v.blk.{i}.ln2", f"{_BLOCK}.layer_norm2", "n_embd"),
    *_linear("v.blk.{i}.ffn_up", f"{_BLOCK}.mlp.fc1", "n_ff", "n_embd"),
    *_linear("v.blk.{i}.ffn_down", f"{_BLOCK}.mlp.fc2", "n_embd", "n_ff"),
    *_norm("v.post_ln", "vpm.post_layernorm", "n_embd"),
)

# Only where the tower and the language model differ in width.
RESAMPLER_WIDEN = Page("resampler.kv.weight", "resampler.kv_proj.weight", ("n_embd_llm", "n_embd"))
RESAMPLER = (
    Page("resampler.query", "resampler.query", ("n_query", "n_embd_llm")),
    *(
        Page(
            f"resampler.attn.{part}.weight",
            "resampler.attn.in_proj_weight",
            ("n_embd_llm", "n_embd_llm"),
            third,
        )
        for third, part in enumerate("qkv")
    ),
    *(
        Page(f"resampler.attn.{part}.bias", "resampler.attn.in_proj_bias", ("n_embd_llm",), third)
        for third, part in enumerate("qkv")
    ),
    *_linear("resampler.attn.out", "resampler.attn.out_proj", "n_embd_llm", "n_embd_llm"),
    *_norm("resampler.ln_q", "resampler.ln_q", "n_embd_llm"),
    *_norm("resampler.ln_kv", "resampler.ln_kv", "n_embd_llm"),
    *_norm("resampler.ln_post", "resampler.ln_post", "n_embd_llm"),
    # x @ proj in the reference: transposed here, so that a product of weight and x is the same thing.
    Page("resampler.proj.weight", "resampler.proj", ("n_embd_llm", "n_embd_llm"), transposed=True),
)

_AUDIO = "apm.layers.{i}"
AUDIO = (
    Page("a.conv1.weight", "apm.conv1.weight", ("n_embd", "n_tap", "n_mel"), taps=True),
    Page("a.conv1.bias", "apm.conv1.bias", ("n_embd",)),
    Page("a.conv2.weight", "apm.conv2.weight", ("n_embd", "n_tap", "n_embd"), taps=True),
    Page("a.conv2.bias", "apm.conv2.bias", ("n_embd",)),
    Page("a.position_embd.weight", "apm.embed_positions.weight", ("n_position", "n_embd")),
    *_norm("a.blk.{i}.ln1", f"{_AUDIO}.self_attn_layer_norm", "n_embd"),
    *_linear("a.blk.{i}.attn_q", f"{_AUDIO}.self_attn.q_proj", "n_embd", "n_embd"),
    Page("a.blk.{i}.attn_k.weight", f"{_AUDIO}.self_attn.k_proj.weight", ("n_embd", "n_embd")),
    *_linear("a.blk.{i}.attn_v", f"{_AUDIO}.self_attn.v_proj", "n_embd", "n_embd"),
    *_linear("a.blk.{i}.attn_out", f"{_AUDIO}.self_attn.out_proj", "n_embd", "n_embd"),
    *_norm("a.blk.{i}.ln2", f"{_AUDIO}.final_layer_norm", "n_embd"),
    *_linear("a.blk.{i}.ffn_up", f"{_AUDIO}.fc1", "n_ff", "n_embd"),
    *_linear("a.blk.{i}.ffn_down", f"{_AUDIO}.fc2", "n_embd", "n_ff"),
    *_norm("a.post_ln", "apm.layer_norm", "n_embd"),
)
AUDIO_PROJECTOR = (
    *_linear("mm.a.linear1", "audio_projection_layer.linear1", "n_embd_llm", "n_embd"),
    *_linear("mm.a.linear2", "audio_projection_layer.linear2", "n_embd_llm", "n_embd_llm"),
)


def take(page: Page, source: Source, sizes: Mapping[str, int], layer: int | None = None) -> Tensor:
    """The tensor of one page, with the source's shape checked."""
    name, stored = page.name_of(layer), page.source.replace("{i}", str(layer))
    shape = page.shape_for(sizes)
    if page.transposed:
        return source.take(stored, shape[::-1]).transposed().renamed(name)
    if page.taps:
        n_out, n_tap, n_in = shape
        return source.take(stored, (n_out, n_in, n_tap)).taps_first().renamed(name)
    if page.third is None:
        return source.take(stored, shape).renamed(name)
    return source.take(stored, (3 * shape[0], *shape[1:])).part(page.third, 3).renamed(name)


def take_all(
    book: tuple[Page, ...], source: Source, sizes: Mapping[str, int], n_layer: int = 0
) -> list[Tensor]:
    return [take(page, source, sizes, layer) for page, layer in expand(book, n_layer)]


def expand(book: tuple[Page, ...], n_layer: int = 0) -> Iterator[tuple[Page, int | None]]:
    """(page, layer) of every tensor in the book's order, the layers where their first page stands."""
    layered = [page for page in book if "{i}" in page.name]
    for page in book:
        if page not in layered:
            yield page, None
        elif page is layered[0]:
            yield from ((each, layer) for layer in range(n_layer) for each in layered)
