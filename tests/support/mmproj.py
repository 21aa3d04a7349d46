"""llama.cpp's forward of an mmproj file in numpy, from the file's keys and tensors alone.

It is what ``tools/mtmd/clip.cpp`` and the graphs in ``tools/mtmd/models`` compute, in float64. The class
token stands in front of the patches, where the position embedding, and the rows that reach the projector,
count it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize


class Mmproj:
    """A file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.keys = {key: field.contents() for key, field in reader.fields.items()}
        self.types = {each.name: each.tensor_type.name for each in reader.tensors}
        self.shapes = {each.name: tuple(reversed(each.shape.tolist())) for each in reader.tensors}
        self.tensors = {
            each.name: np.asarray(dequantize(each.data, each.tensor_type), dtype=np.float64)
            for each in reader.tensors
        }

    def embeds(self, image: Any) -> Any:
        """Run an image of the size that the tower takes.

        Args:
            image: RGB, (height, width, 3) uint8.

        Returns:
            What the language model reads, (rows, width) float64.
        """
        keys, kind = self.keys, self.keys["clip.projector_type"]
        mean, std = (np.asarray(keys[f"clip.vision.image_{name}"]) for name in ("mean", "std"))
        tokens = self._patches((image / 255 - mean) / std)
        if kind == "mlp":
            return self._mlp(self._llava_tower(tokens))
        tokens = self._normed(
            "v.post_ln", self._blocks(self._stem(tokens), range(keys["clip.vision.block_count"]))
        )
        patch = keys["clip.vision.patch_size"]
        plane = tokens.reshape(image.shape[0] // patch, image.shape[1] // patch, -1)
        factor = keys["clip.vision.projector.scale_factor"]
        return {"gemma3": self._gemma3, "idefics3": self._idefics3, "lfm2": self._lfm2}[kind](plane, factor)

    # --- the tower --------------------------------------------------------------------------------------

    def _patches(self, pixels: Any) -> Any:
        side, kernel = self.keys["clip.vision.patch_size"], self.tensors["v.patch_embd.weight"]
        down, across = pixels.shape[0] // side, pixels.shape[1] // side
        cut = pixels[: down * side, : across * side].reshape(down, side, across, side, 3)
        tokens = np.einsum("ayxbc,ocyb->axo", cut, kernel)
        return tokens.reshape(down * across, -1) + self.tensors.get("v.patch_embd.bias", 0)

    def _stem(self, tokens: Any) -> Any:
        return self._normed("v.pre_ln", tokens + self.tensors["v.position_embd.weight"])

    def _blocks(self, tokens: Any, numbers: range) -> Any:
        for number in numbers:
            tokens = self._block(f"v.blk.{number}", tokens)
        return tokens

    def _llava_tower(self, tokens: Any) -> Any:
        first = [self.tensors["v.class_embd"][None]] if "v.class_embd" in self.tensors else []
        tokens = self._stem(np.concatenate([*first, tokens]))
        layers = self.keys.get("clip.vision.feature_layer", [])
        depth = max(layers) if layers else self.keys["clip.vision.block_count"] - 1
        states = []
        for number in range(depth):
            if number in layers:
                states.append(tokens)
            tokens = self._blocks(tokens, range(number, number + 1))
        states.append(self._normed("v.post_ln", tokens))
        return np.concatenate(states, axis=-1)[len(first) :]

    def _block(self, name: str, tokens: Any) -> Any:
        heads = self.keys["clip.vision.attention.head_count"]
        normed = self._normed(f"{name}.ln1", tokens)
        q, k, v = (
            self._linear(f"{name}.attn_{each}", normed).reshape(len(tokens), heads, -1).swapaxes(0, 1)
            for each in "qkv"
        )
        scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        tokens = tokens + self._linear(
            f"{name}.attn_out", (weights @ v).swapaxes(0, 1).reshape(len(tokens), -1)
        )
        up = self._linear(f"{name}.ffn_up", self._normed(f"{name}.ln2", tokens))
        if self.keys.get("clip.use_gelu"):
            inner = gelu(up)
        else:
            inner = up / (1 + np.exp(-(1.0 if self.keys.get("clip.use_silu") else 1.702) * up))
        return tokens + self._linear(f"{name}.ffn_down", inner)

    def _normed(self, name: str, tokens: Any) -> Any:
        """The tokens normed, where the file has that norm."""
        if f"{name}.weight" not in self.tensors:
            return tokens
        return self._scaled(name, tokens, self.keys["clip.vision.attention.layer_norm_epsilon"])

    def _scaled(self, name: str, tokens: Any, epsilon: float) -> Any:
        centered = tokens - tokens.mean(axis=-1, keepdims=True)
        normed = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + epsilon)
        return normed * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def _linear(self, name: str, tokens: Any) -> Any:
        return tokens @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    # --- the projectors ---------------------------------------------------------------------------------

    def _mlp(self, tokens: Any) -> Any:
        return self._linear("mm.2", gelu(self._linear("mm.0", tokens)))

    def _gemma3(self, plane: Any, factor: int) -> Any:
        squares = plane.reshape(plane.shape[0] // factor, factor, plane.shape[1] // factor, factor, -1)
        rows = squares.mean(axis=(1, 3)).reshape(-1, plane.shape[-1])
        epsilon = self.keys["clip.vision.attention.layer_norm_epsilon"]
        rows = rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + epsilon)
        return rows * self.tensors["mm.soft_emb_norm.weight"] @ self.tensors["mm.input_projection.weight"]

    def _idefics3(self, plane: Any, factor: int) -> Any:
        return _squares(plane, factor) @ self.tensors["mm.model.fc.weight"].T

    def _lfm2(self, plane: Any, factor: int) -> Any:
        rows = _squares(plane, factor)
        if "mm.input_norm.weight" in self.tensors:
            rows = self._scaled("mm.input_norm", rows, 1e-5)
        return self._linear("mm.2", gelu(self._linear("mm.1", rows)))


def gelu(values: Any) -> Any:
    """ggml's GELU, which is the approximation with tanh."""
    return values / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)))


def _squares(plane: Any, factor: int) -> Any:
    """The tokens of each square side by side, row by row, (squares, factor x factor x width)."""
    height, width, channels = plane.shape
    squares = plane.reshape(height // factor, factor, width // factor, factor, channels)
    return squares.swapaxes(1, 2).reshape(-1, factor * factor * channels)
