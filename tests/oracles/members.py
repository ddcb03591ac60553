"""What PyTorch computes from the tiny checkpoints of the members: tests/data/members/*.npz.

    PYTHONPATH=tests/python python tests/oracles/members.py

needs torch, transformers 4.51 and Pillow 13. Language models, the layers of both towers and attention are
those of transformers and torch; what is between them follows the members' own modeling and processing code.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from member_checkpoints import GRID, MEMBERS, N_EMBD, N_FF, N_HEAD, N_LAYER, VISION, VISION_FF, write_member
from member_conversations import CONVERSATIONS, N_GREEDY, Frames, pictures, sounds
from PIL import Image
from safetensors_file import read_safetensors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipVisionConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.siglip.modeling_siglip import SiglipEncoder
from transformers.models.whisper.modeling_whisper import WhisperEncoder

SIDE, RESOLUTION, MAX_SLICES = 14, 112, 4
LLMS = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}
SPOKEN = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>' }}{% endif %}"
)


class Oracle:
    def __init__(self, name: str, folder: Path) -> None:
        self.member = MEMBERS[name]
        self.config = self.member.config
        self.weights = {
            key: torch.from_numpy(value.copy())
            for key, value in read_safetensors(folder / "model.safetensors").items()
        }
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"),
            bos_token="<|begin_of_text|>" if self.member.vocabulary == "llama3" else None,
        )
        self.tokenizer.chat_template = self.member.template
        self.llm = self._make_llm()
        self.tower = self._make_tower()
        self.attention = torch.nn.MultiheadAttention(N_EMBD, N_EMBD // 128)
        self.attention.load_state_dict(self._part("resampler.attn."))
        self.attention.eval()

    def _part(self, prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.weights.items() if k.startswith(prefix)}

    def _make_llm(self) -> Any:
        kind = "qwen3" if self.member.qk_norm else "qwen2" if self.member.bias else "llama"
        config_class, model_class = LLMS.get(kind, (LlamaConfig, LlamaForCausalLM))
        rope = self.config.get("rope_scaling")
        config = config_class(
            hidden_size=N_EMBD,
            intermediate_size=N_FF,
            num_hidden_layers=N_LAYER,
            num_attention_heads=N_HEAD,
            num_key_value_heads=self.member.n_kv,
            head_dim=self.member.d_head,
            vocab_size=self.weights["llm.lm_head.weight"].shape[0],
            max_position_embeddings=self.config.get("max_position_embeddings", 4096),
            rms_norm_eps=self.config.get("rms_norm_eps", 1e-6),
            rope_theta=self.config["rope_theta"],
            rope_scaling=rope,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
        if rope is not None:
            # transformers 4.51 looks for it here; its short factors hold up to so many tokens.
            config.original_max_position_embeddings = rope["original_max_position_embeddings"]
        llm = model_class(config)
        weights = self._part("llm.")
        if "scale_depth" in self.config:
            # The scales of branches and logits, told by the weights in front of them.
            branch = self.config["scale_depth"] / math.sqrt(N_LAYER)
            for key in weights:
                if key.endswith(("o_proj.weight", "down_proj.weight")):
                    weights[key] = weights[key] * branch
            weights["lm_head.weight"] = weights["lm_head.weight"] / (N_EMBD / self.config["dim_model_base"])
        llm.load_state_dict(weights)
        return llm.eval()

    def _make_tower(self) -> Any:
        n_layer = self.member.hidden_vision_layers - int(self.config.get("drop_vision_last_layer", True))
        encoder = SiglipEncoder(
            SiglipVisionConfig(
                hidden_size=VISION,
                intermediate_size=VISION_FF,
                num_hidden_layers=n_layer,
                num_attention_heads=2,
                layer_norm_eps=1e-6,
                attn_implementation="eager",
            )
        )
        weights = self._part("vpm.encoder.")
        surplus = {key for key in weights if int(key.split(".")[1]) >= n_layer}
        encoder.load_state_dict({key: value for key, value in weights.items() if key not in surplus})
        return encoder.eval()

    def see(self, slice_: Image.Image) -> torch.Tensor:
        """[n_patch, VISION]: the tower over one slice, patches row by row."""
        pixels = (torch.from_numpy(np.array(slice_)).float() / 255 - 0.5) / 0.5  # [h, w, 3]
        rows, cols = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
        patches = pixels.reshape(rows, SIDE, cols, SIDE, 3).permute(0, 2, 4, 1, 3).reshape(rows * cols, -1)
        kernel = self.weights["vpm.embeddings.patch_embedding.weight"].reshape(VISION, -1)
        x = patches @ kernel.T + self.weights["vpm.embeddings.patch_embedding.bias"]
        if self.member.vocabulary == "llama3":  # the first member's tower sees one row of patches
            ids = _buckets(1)[:, None] * GRID + _buckets(rows * cols)[None]
        else:
            ids = _buckets(rows)[:, None] * GRID + _buckets(cols)[None]
        x = x + self.weights["vpm.embeddings.position_embedding.weight"][ids.flatten()]
        x = self.tower(x[None]).last_hidden_state[0]
        return self._norm("vpm.post_layernorm", x, 1e-6)

    def resample(self, slices: list[Image.Image], times: list[int] | None = None) -> torch.Tensor:
        """[n_query, N_EMBD] of one slice, or of several frames of it at their times."""
        keys, values = [], []
        for i, slice_ in enumerate(slices):
            x = self.see(slice_) @ self.weights["resampler.kv_proj.weight"].T
            x = self._norm("resampler.ln_kv", x, 1e-6)
            cols, rows = slice_.width // SIDE, slice_.height // SIDE
            across, down = _wave(torch.arange(cols), N_EMBD // 2), _wave(torch.arange(rows), N_EMBD // 2)
            table = torch.cat(
                [across[None].expand(rows, -1, -1), down[:, None].expand(-1, cols, -1)], -1
            ).reshape(rows * cols, -1)
            if times is not None and times[i] >= 0:
                table = table + _wave(torch.tensor([times[i]]), N_EMBD)
            keys.append(x + table)
            values.append(x)
        query = self._norm("resampler.ln_q", self.weights["resampler.query"], 1e-6)
        out = self.attention(query, torch.cat(keys), torch.cat(values))[0]
        return self._norm("resampler.ln_post", out, 1e-6) @ self.weights["resampler.proj"]

    def hear(self, sound: np.ndarray) -> torch.Tensor:
        """[n_token, N_EMBD], in blocks of attention of a second."""
        extractor = WhisperFeatureExtractor(feature_size=80)
        out = extractor(
            [sound],
            sampling_rate=16000,
            return_attention_mask=True,
            padding="max_length",
            return_tensors="pt",
        )
        mel = out["input_features"][:, :, : int(out["attention_mask"].sum())]
        audio = self.config["audio_config"]
        encoder = WhisperEncoder(WhisperConfig(**audio, attn_implementation="eager"))
        encoder.load_state_dict(self._part("apm."))
        encoder.eval()
        x = torch.nn.functional.gelu(encoder.conv1(mel))
        x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
        n = x.shape[1]
        x = x + encoder.embed_positions.weight[:n]
        block = torch.arange(n) // 50
        mask = torch.where(block[None] <= block[:, None], 0.0, -torch.inf)[None, None]
        for layer in encoder.layers:
            x = layer(x, mask, None)[0]
        x = encoder.layer_norm(x)
        x = torch.relu(self._linear("audio_projection_layer.linear1", x))
        x = self._linear("audio_projection_layer.linear2", x)
        return torch.nn.functional.avg_pool1d(x.transpose(1, 2), 2, 2).transpose(1, 2)[0]

    def _norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def prompt(self, name: str) -> tuple[str, torch.Tensor, torch.Tensor]:
        """The rendered template, ids and embeddings of a conversation."""
        conversation = CONVERSATIONS[name]
        messages, media = [], []
        spoken = False
        for role, parts in conversation.messages:
            texts = []
            for part in parts:
                if isinstance(part, str) and part[0] == "#":
                    media.append(sounds()[part[1:]])
                    texts.append("(<audio>./</audio>)")
                    spoken = True
                elif isinstance(part, Frames) or part[0] == "@":
                    group = part.names if isinstance(part, Frames) else [part[1:]]
                    times = part.times if isinstance(part, Frames) else None
                    media.append(([Image.fromarray(pictures()[n]) for n in group], times))
                    texts.append("(<image>./</image>)")
                else:
                    texts.append(part)
            messages.append({"role": role, "content": "\n".join(texts)})
        template = SPOKEN if spoken else self.member.template
        options = {"enable_thinking": conversation.thinks} if self.member.qk_norm else {}
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=template, **options
        )
        whole, rows, n_image = "", [], 0
        for piece in _split(text):
            if piece == "(<image>./</image>)":
                group, times = media.pop(0)
                placeholder, slots = self._see_group(group, times, n_image)
                n_image += len(group)
                whole += placeholder
                rows += slots
            elif piece == "(<audio>./</audio>)":
                embeds = self.hear(media.pop(0))
                for begin in range(0, len(embeds), 25):
                    n = min(25, len(embeds) - begin)
                    whole += "<|audio_start|>" + "<unk>" * n + "<|audio_end|>"
                rows.append(embeds)
            else:
                whole += piece
        ids = torch.tensor(self.tokenizer.encode(whole, add_special_tokens=False))
        if self.member.vocabulary == "pieces":
            ids = torch.cat([torch.tensor([self.tokenizer.convert_tokens_to_ids("<s>")]), ids])
        embeds = self.llm.model.embed_tokens(ids) * self.config.get("scale_emb", 1)
        places = ids == self.tokenizer.convert_tokens_to_ids("<unk>")
        if rows:
            embeds[places] = torch.cat(rows)
        return (
            text.replace("(<image>./</image>)", "<image>./</image>").replace(
                "(<audio>./</audio>)", "<audio>./</audio>"
            ),
            ids,
            embeds,
        )

    def continue_(self, embeds: torch.Tensor) -> list[int]:
        """The likeliest tokens, one after another, each computed from the whole."""
        ids: list[int] = []
        for _ in range(N_GREEDY):
            ids.append(int(self.llm(inputs_embeds=embeds[None]).logits[0, -1].argmax()))
            last = self.llm.model.embed_tokens(torch.tensor(ids[-1:])) * self.config.get("scale_emb", 1)
            embeds = torch.cat([embeds, last])
        return ids

    def _see_group(
        self, group: list[Image.Image], times: list[int] | None, index: int
    ) -> tuple[str, list[torch.Tensor]]:
        cut = [_slices(image) for image in group]
        grid = cut[0][1]
        rows = [self.resample([slices[i] for slices, _ in cut], times) for i in range(len(cut[0][0]))]
        queries = "<unk>" * self.member.n_query
        image, slice_ = f"<image>{queries}</image>", f"<slice>{queries}</slice>"
        if self.member.vocabulary == "llama3":
            lines = [image * grid[0]] * grid[1] if grid else []
            return image + ("<slice>" + "\n".join(lines) + "</slice>" if grid else ""), rows
        lines = [slice_ * grid[0]] * grid[1] if grid else []
        return f"<image_id>{index}</image_id>" + image + "\n".join(lines), rows


def _buckets(n: int) -> torch.Tensor:
    coordinates = torch.arange(0, 1 - 1e-6, 1 / torch.tensor(n, dtype=torch.int32))
    return torch.bucketize(coordinates, torch.arange(1 / GRID, 1.0, 1 / GRID), right=True)


def _wave(positions: torch.Tensor, width: int) -> torch.Tensor:
    """[n, width]: sines, then cosines."""
    omega = np.arange(width // 2, dtype=np.float32)
    omega /= width / 2.0
    angles = np.einsum("m,d->md", positions.numpy().astype(np.float32), 1.0 / 10000**omega)
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)).float()


def _split(text: str) -> list[str]:
    import re

    return [piece for piece in re.split(r"(\(<(?:image|audio)>\./</(?:image|audio)>\))", text) if piece]


def _multiple(length: float) -> int:
    return max(round(length / SIDE) * SIDE, SIDE)


def _fitted(width: float, height: float) -> tuple[int, int]:
    ratio = width / height
    height = int(RESOLUTION / math.sqrt(ratio))
    return _multiple(int(height * ratio)), _multiple(height)


def _slices(image: Image.Image) -> tuple[list[Image.Image], tuple[int, int] | None]:
    """The overview and what a large picture is cut into; (columns, rows)."""
    width, height = image.size
    wanted = min(math.ceil(width * height / RESOLUTION**2), MAX_SLICES)
    whole = image.resize(_fitted(width, height), Image.Resampling.BICUBIC)
    if wanted <= 1:
        return [whole], None
    counts = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= MAX_SLICES]
    grids = [(cols, n // cols) for n in counts for cols in range(1, n + 1) if n % cols == 0]
    cols, rows = min(grids, key=lambda g: abs(math.log(width / height) - math.log(g[0] / g[1])))
    cell = _fitted(
        max(round(width / cols) * cols, cols) / cols, max(round(height / rows) * rows, rows) / rows
    )
    fine = image.resize((cell[0] * cols, cell[1] * rows), Image.Resampling.BICUBIC)
    boxes = [(x * cell[0], y * cell[1]) for y in range(rows) for x in range(cols)]
    return [whole, *(fine.crop((x, y, x + cell[0], y + cell[1])) for x, y in boxes)], (cols, rows)


@torch.no_grad()
def compute(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(name, write_member(name, Path(folder) / name))
    slices, _ = _slices(Image.fromarray(pictures()["wide"]))
    found: dict[str, Any] = {
        "encoded": oracle.see(slices[-1]).numpy()[::4],
        "resampled": torch.stack([oracle.resample([s]) for s in (slices[0], slices[-1])]).numpy(),
    }
    if oracle.member.hears:
        found["heard"] = oracle.hear(sounds()["speech"]).numpy()
    for case, conversation in CONVERSATIONS.items():
        if name not in conversation.members:
            continue
        text, ids, embeds = oracle.prompt(case)
        out = oracle.llm(inputs_embeds=embeds[None], output_hidden_states=True)
        found |= {
            f"{case}_text": np.array(text),
            f"{case}_ids": ids.numpy().astype(np.int32),
            f"{case}_hidden": out.hidden_states[-1][0, -8:].numpy(),
            f"{case}_logits": out.logits[0, -1].numpy(),
            f"{case}_greedy": np.array(oracle.continue_(embeds), np.int32),
        }
    return found


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "data" / "members"
    target.mkdir(exist_ok=True)
    for each in sys.argv[1:] or MEMBERS:
        results = compute(each)
        np.savez_compressed(target / f"{each}.npz", **results)
        print(each, (target / f"{each}.npz").stat().st_size, list(results))
