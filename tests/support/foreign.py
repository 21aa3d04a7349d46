"""Vision transformers in other libraries' names, and what they make of pixels, written out in plain torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, scaled_dot_product_attention

from support.checkpoints import Tensors

WIDTH, DEPTH, HEADS, MLP, PATCH, SIDE = 32, 3, 4, 48, 8, 32
ENCODER = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "image_size": SIDE,
    "patch_size": PATCH,
}
"""Fields of the encoder block that every family has."""


@dataclass(frozen=True)
class Kind:
    """What is special in a vision transformer.

    Attributes:
        class_token: Whether it has one.
        registers: Registers behind it.
        folded: Whether the class token's position is in the class token.
        pre_norm: Whether there is a norm before the blocks, and no bias in the patch embedding.
        scale: What the layer scales are called, with ``{}`` for 1 or 2; empty if there are none.
        biases: ``joint`` for one bias of queries, keys and values; ``separate`` for one each of queries and
            values.
        pool: Whether there is an attention-pooling head.
        eps: Epsilon of the norms.
    """

    class_token: bool = True
    registers: int = 0
    folded: bool = False
    pre_norm: bool = False
    scale: str = ""
    biases: str = "joint"
    pool: bool = False
    eps: float = 1e-6

    def tensors(self) -> Tensors:
        """Random weights in timm's names."""
        shapes = {"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH)}
        if not self.pre_norm:
            shapes["patch_embed.proj.bias"] = (WIDTH,)
        if self.class_token:
            shapes["cls_token"] = (1, 1, WIDTH)
        if self.registers:
            shapes["reg_token"] = (1, self.registers, WIDTH)
        has_row = self.class_token and not self.folded
        shapes["pos_embed"] = (1, (SIDE // PATCH) ** 2 + has_row, WIDTH)
        for norm in ["norm", *(["norm_pre"] if self.pre_norm else [])]:
            shapes |= _norm(norm)
        for i in range(DEPTH):
            block = f"blocks.{i}"
            shapes |= _norm(f"{block}.norm1") | _norm(f"{block}.norm2")
            shapes |= _linear(f"{block}.attn.qkv", WIDTH, 3 * WIDTH) | _linear(f"{block}.attn.proj")
            shapes |= _linear(f"{block}.mlp.fc1", WIDTH, MLP) | _linear(f"{block}.mlp.fc2", MLP, WIDTH)
            if self.biases == "separate":
                del shapes[f"{block}.attn.qkv.bias"]
                shapes |= {f"{block}.attn.{name}_bias": (WIDTH,) for name in "qv"}
            if self.scale:
                shapes |= {f"{block}.{self.scale.format(n)}": (WIDTH,) for n in (1, 2)}
        if self.pool:
            shapes |= {"attn_pool.latent": (1, 1, WIDTH)} | _norm("attn_pool.norm")
            shapes |= _linear("attn_pool.q") | _linear("attn_pool.kv", WIDTH, 2 * WIDTH)
            shapes |= _linear("attn_pool.proj")
            shapes |= _linear("attn_pool.mlp.fc1", WIDTH, MLP) | _linear("attn_pool.mlp.fc2", MLP, WIDTH)
        generator = torch.Generator().manual_seed(0)
        return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}

    def hidden_states(self, tensors: Tensors, pixels: Tensor) -> list[Tensor]:
        """Hidden states 0 to N; behind them the last one normed, and what the pooling head makes of it."""
        t = {name: tensor.double() for name, tensor in tensors.items()}
        images = len(pixels)
        bias = t.get("patch_embed.proj.bias")
        x = conv2d(pixels.double(), t["patch_embed.proj.weight"], bias, stride=PATCH)
        x = x.flatten(2).transpose(1, 2)
        class_token = [t["cls_token"].expand(images, 1, WIDTH)] if self.class_token else []
        registers = [t["reg_token"].expand(images, -1, WIDTH)] if self.registers else []
        if self.folded:
            x = torch.cat([*class_token, *registers, x + t["pos_embed"]], 1)
        else:
            x = torch.cat([*class_token, x], 1) + t["pos_embed"]
        if self.pre_norm:
            x = self._normed(t, "norm_pre", x)
        states = [x]
        for i in range(DEPTH):
            block = f"blocks.{i}"
            scales = [t[f"{block}.{self.scale.format(n)}"] if self.scale else 1 for n in (1, 2)]
            x = x + scales[0] * self._attention(t, block, self._normed(t, f"{block}.norm1", x))
            x = x + scales[1] * _mlp(t, f"{block}.mlp", self._normed(t, f"{block}.norm2", x))
            states.append(x)
        states.append(self._normed(t, "norm", x))
        return [*states, self._pooled(t, states[-1])] if self.pool else states

    def _normed(self, t: Tensors, name: str, x: Tensor) -> Tensor:
        return layer_norm(x, (WIDTH,), t[f"{name}.weight"], t[f"{name}.bias"], self.eps)

    def _attention(self, t: Tensors, block: str, x: Tensor) -> Tensor:
        qkv = x @ t[f"{block}.attn.qkv.weight"].T
        if self.biases == "joint":
            qkv = qkv + t[f"{block}.attn.qkv.bias"]
        q, k, v = qkv.chunk(3, -1)
        if self.biases == "separate":
            q, v = q + t[f"{block}.attn.q_bias"], v + t[f"{block}.attn.v_bias"]
        return _project(t, f"{block}.attn.proj", _attend(q, k, v))

    def _pooled(self, t: Tensors, x: Tensor) -> Tensor:
        query = _project(t, "attn_pool.q", t["attn_pool.latent"].expand(len(x), 1, WIDTH))
        key, value = _project(t, "attn_pool.kv", x).chunk(2, -1)
        x = _project(t, "attn_pool.proj", _attend(query, key, value))
        return x + _mlp(t, "attn_pool.mlp", self._normed(t, "attn_pool.norm", x))


def renamed(tensors: Tensors, *changes: tuple[str, str | Callable[[re.Match[str]], str]]) -> Tensors:
    """The tensors after each pattern was replaced in their names."""
    names = {name: name for name in tensors}
    for pattern, new in changes:
        names = {name: re.sub(pattern, new, by_now) for name, by_now in names.items()}
    return {names[name]: tensor for name, tensor in tensors.items()}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def _linear(name: str, inputs: int = WIDTH, outputs: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _project(t: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def _mlp(t: Tensors, name: str, x: Tensor) -> Tensor:
    return _project(t, f"{name}.fc2", gelu(_project(t, f"{name}.fc1", x)))


def _attend(*qkv: Tensor) -> Tensor:
    heads = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in qkv)
    return scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def in_open_clips_layers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return timm's tensors under the names, and in the shapes, of open_clip's own tower."""
    named = renamed(
        tensors,
        ("^cls_token$", "class_embedding"),
        ("^pos_embed$", "positional_embedding"),
        (r"^patch_embed\.proj", "conv1"),
        ("^norm_pre", "ln_pre"),
        (r"^norm\.", "ln_post."),
        (r"^blocks\.", "transformer.resblocks."),
        (r"\.norm([12])\.", r".ln_\1."),
        (r"attn\.qkv\.", "attn.in_proj_"),
        (r"attn\.proj\.", "attn.out_proj."),
        (r"mlp\.fc1", "mlp.c_fc"),
        (r"mlp\.fc2", "mlp.c_proj"),
    )
    named["class_embedding"] = named["class_embedding"].reshape(WIDTH)
    named["positional_embedding"] = named["positional_embedding"][0].clone()
    return named
