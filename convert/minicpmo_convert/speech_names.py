"""The name book of the speech side: the language model of speech codes, the flow from codes to a spectrum."""

from __future__ import annotations

from minicpmo_convert.names import Page


def _linear(name: str, source: str, n_out: str, n_in: str) -> tuple[Page, Page]:
    return (
        Page(f"{name}.weight", f"{source}.weight", (n_out, n_in)),
        Page(f"{name}.bias", f"{source}.bias", (n_out,)),
    )


def _norm(name: str, source: str, n: str) -> tuple[Page, Page]:
    return Page(f"{name}.weight", f"{source}.weight", (n,)), Page(f"{name}.bias", f"{source}.bias", (n,))


def _conv(name: str, source: str, n_out: str, n_tap: str, n_in: str) -> tuple[Page, Page]:
    return (
        Page(f"{name}.weight", f"{source}.weight", (n_out, n_tap, n_in), taps=True),
        Page(f"{name}.bias", f"{source}.bias", (n_out,)),
    )


_LAYER = "tts.model.layers.{i}"
_BACKBONE = (
    Page("tts.blk.{i}.attn_norm.weight", f"{_LAYER}.input_layernorm.weight", ("n_embd",)),
    Page("tts.blk.{i}.attn_q.weight", f"{_LAYER}.self_attn.q_proj.weight", ("n_embd", "n_embd")),
    Page("tts.blk.{i}.attn_k.weight", f"{_LAYER}.self_attn.k_proj.weight", ("n_kv", "n_embd")),
    Page("tts.blk.{i}.attn_v.weight", f"{_LAYER}.self_attn.v_proj.weight", ("n_kv", "n_embd")),
    Page("tts.blk.{i}.attn_output.weight", f"{_LAYER}.self_attn.o_proj.weight", ("n_embd", "n_embd")),
    Page("tts.blk.{i}.ffn_norm.weight", f"{_LAYER}.post_attention_layernorm.weight", ("n_embd",)),
    Page("tts.blk.{i}.ffn_gate.weight", f"{_LAYER}.mlp.gate_proj.weight", ("n_ff", "n_embd")),
    Page("tts.blk.{i}.ffn_up.weight", f"{_LAYER}.mlp.up_proj.weight", ("n_ff", "n_embd")),
    Page("tts.blk.{i}.ffn_down.weight", f"{_LAYER}.mlp.down_proj.weight", ("n_embd", "n_ff")),
    Page("tts.output_norm.weight", "tts.model.norm.weight", ("n_embd",)),
)
TTS = (
    Page("tts.emb_text.weight", "tts.emb_text.weight", ("n_text", "n_embd")),
    Page("tts.emb_code.weight", "tts.emb_code.0.weight", ("n_code", "n_embd")),
    *_linear("tts.projector.linear1", "tts.projector_semantic.linear1", "n_embd", "n_embd_llm"),
    *_linear("tts.projector.linear2", "tts.projector_semantic.linear2", "n_embd", "n_embd"),
    *_BACKBONE,
)
# Its code books and heads are stacked: see components/conditional_tts.py.
CONDITIONAL_TTS = (
    Page("tts.emb_text.weight", "tts.emb_text.weight", ("n_text", "n_embd")),
    *_linear("tts.projector.linear1", "tts.projector.linear1", "n_embd", "n_embd_llm"),
    *_linear("tts.projector.linear2", "tts.projector.linear2", "n_embd", "n_embd"),
    *_BACKBONE,
)

FLOW = (
    Page("t2w.input_embd.weight", "input_embedding.weight", ("n_code", "n_input")),
    *_linear("t2w.spk_affine", "spk_embed_affine_layer", "n_mel", "n_speaker"),
    *_linear("t2w.enc.embd", "encoder.embed.out.0", "n_embd", "n_input"),
    *_norm("t2w.enc.embd_norm", "encoder.embed.out.1", "n_embd"),
    *_conv("t2w.enc.lookahead1", "encoder.pre_lookahead_layer.conv1", "n_embd", "n_tap_ahead", "n_embd"),
    *_conv("t2w.enc.lookahead2", "encoder.pre_lookahead_layer.conv2", "n_embd", "n_tap_behind", "n_embd"),
    *_linear("t2w.enc.up_embd", "encoder.up_embed.out.0", "n_embd", "n_embd"),
    *_norm("t2w.enc.up_embd_norm", "encoder.up_embed.out.1", "n_embd"),
    *_norm("t2w.enc.output_norm", "encoder.after_norm", "n_embd"),
    *_linear("t2w.enc_proj", "encoder_proj", "n_mel", "n_embd"),
)


def _conformer(name: str, source: str) -> tuple[Page, ...]:
    return (
        *_norm(f"{name}.ln1", f"{source}.norm_mha", "n_embd"),
        *_linear(f"{name}.attn_q", f"{source}.self_attn.linear_q", "n_embd", "n_embd"),
        *_linear(f"{name}.attn_k", f"{source}.self_attn.linear_k", "n_embd", "n_embd"),
        *_linear(f"{name}.attn_v", f"{source}.self_attn.linear_v", "n_embd", "n_embd"),
        *_linear(f"{name}.attn_out", f"{source}.self_attn.linear_out", "n_embd", "n_embd"),
        Page(f"{name}.attn_pos.weight", f"{source}.self_attn.linear_pos.weight", ("n_embd", "n_embd")),
        Page(f"{name}.attn_pos_bias_u", f"{source}.self_attn.pos_bias_u", ("n_head", "d_head")),
        Page(f"{name}.attn_pos_bias_v", f"{source}.self_attn.pos_bias_v", ("n_head", "d_head")),
        *_norm(f"{name}.ln2", f"{source}.norm_ff", "n_embd"),
        *_linear(f"{name}.ffn_up", f"{source}.feed_forward.w_1", "n_ff", "n_embd"),
        *_linear(f"{name}.ffn_down", f"{source}.feed_forward.w_2", "n_embd", "n_ff"),
    )


FLOW_BLOCKS = _conformer("t2w.enc.blk.{i}", "encoder.encoders.{i}")
FLOW_UP_BLOCKS = _conformer("t2w.enc.up_blk.{i}", "encoder.up_encoders.{i}")

_ESTIMATOR = "decoder.estimator"
_BLOCK = f"{_ESTIMATOR}.blocks.{{i}}"
DIT = (
    *_linear("t2w.dit.time1", f"{_ESTIMATOR}.t_embedder.mlp.0", "n_embd", "n_time"),
    *_linear("t2w.dit.time2", f"{_ESTIMATOR}.t_embedder.mlp.2", "n_embd", "n_embd"),
    *_linear("t2w.dit.in", f"{_ESTIMATOR}.in_proj", "n_embd", "n_in"),
    *_linear("t2w.dit.blk.{i}.attn_q", f"{_BLOCK}.attn.to_q", "n_inner", "n_embd"),
    *_linear("t2w.dit.blk.{i}.attn_k", f"{_BLOCK}.attn.to_k", "n_inner", "n_embd"),
    *_linear("t2w.dit.blk.{i}.attn_v", f"{_BLOCK}.attn.to_v", "n_inner", "n_embd"),
    *_linear("t2w.dit.blk.{i}.attn_out", f"{_BLOCK}.attn.proj", "n_embd", "n_inner"),
    *_norm("t2w.dit.blk.{i}.attn_q_norm", f"{_BLOCK}.attn.q_norm", "d_head"),
    *_norm("t2w.dit.blk.{i}.attn_k_norm", f"{_BLOCK}.attn.k_norm", "d_head"),
    *_conv("t2w.dit.blk.{i}.conv1", f"{_BLOCK}.conv.block.1", "n_embd", "n_tap", "n_embd"),
    *_norm("t2w.dit.blk.{i}.conv_norm", f"{_BLOCK}.conv.block.3", "n_embd"),
    *_conv("t2w.dit.blk.{i}.conv2", f"{_BLOCK}.conv.block.6", "n_embd", "n_tap", "n_embd"),
    *_linear("t2w.dit.blk.{i}.ffn_up", f"{_BLOCK}.mlp.fc1", "n_ff", "n_embd"),
    *_linear("t2w.dit.blk.{i}.ffn_down", f"{_BLOCK}.mlp.fc2", "n_embd", "n_ff"),
    *_linear("t2w.dit.blk.{i}.adaln", f"{_BLOCK}.adaLN_modulation.1", "n_modulation", "n_embd"),
    *_linear("t2w.dit.final_adaln", f"{_ESTIMATOR}.final_layer.adaLN_modulation.1", "n_final", "n_embd"),
    *_linear("t2w.dit.out", f"{_ESTIMATOR}.final_layer.linear", "n_mel", "n_embd"),
)
