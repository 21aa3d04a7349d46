"""What is checked: an encoder with random weights, towers composed from it, and inputs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..composing import compose
from ..encoder import ComposedVisionEncoder
from ..encoders import AnyFamily
from ..errors import ConformanceError
from ..schemas import EncoderConfig, TowerConfig


class Subject:
    """An encoder, a checkpoint of it, and towers composed from that.

    Args:
        encoder: The config block.
        family: Its family.
        folder: An empty folder, for the checkpoint and what is saved.

    Attributes:
        samples: Images that can share a batch, and a clip where the encoder takes clips.
        reference: transformers' own module, whole.
    """

    def __init__(self, encoder: EncoderConfig, family: AnyFamily, folder: Path) -> None:
        self.encoder = encoder
        self.family = family
        self.folder = folder
        self.reference = self._reference()
        self.reference.save_pretrained(folder / "checkpoint")
        self._towers: dict[str, ComposedVisionEncoder] = {}
        self._saved: dict[str, Path] = {}
        own = self.compose()
        self.samples = family.samples(own.info, own.preprocess)

    def _reference(self) -> Any:
        config = self.family.transformers_config(self.encoder, self.depth, head=self.encoder.has_head)
        model = self.family.transformers_class(config)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Off its initial value, so that no zero or one can hide a stage that was left out.
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model

    @property
    def depth(self) -> int:
        return self.encoder.num_hidden_layers

    # --- towers ---------------------------------------------------------------------------------------

    def compose(self, **keys: Any) -> ComposedVisionEncoder:
        """The tower with these keys of a config, composed once."""
        name = named(keys)
        if name not in self._towers:
            weights = {"source": str(self.folder / "checkpoint")}
            config = {"schema": 1, "encoder": self.encoder, "weights": weights, **keys}
            self._towers[name] = compose(TowerConfig.model_validate(config), device="cpu")
        return self._towers[name].eval()

    def compose_all_states(self) -> ComposedVisionEncoder:
        """The tower that returns all hidden states side by side."""
        return self.compose(select_layers=list(range(self.depth + 1)))

    def save(self, **keys: Any) -> Path:
        """The folder that the tower with these keys is saved in, once."""
        name = named(keys)
        if name not in self._saved:
            self._saved[name] = self.folder / f"saved-{len(self._saved)}"
            self.compose(**keys).save(self._saved[name])
        return self._saved[name]

    def layers(self) -> list[dict[str, Any]]:
        """The keys of towers that return one hidden state."""
        return [{"select_layers": [k]} for k in range(self.depth + 1)]

    def outputs(self) -> list[dict[str, Any]]:
        """The keys of the others: the encoder's own output, the post-norm, the head, no DeepStack levels."""
        outputs: list[dict[str, Any]] = [{}]
        if self.encoder.has_post_norm:
            outputs.append({"select_layers": [self.depth], "post_norm": "last"})
        if self.encoder.deepstack:
            outputs.append({"deepstack": "none"})
        return outputs + ([{"head": True}] if self.encoder.has_head else [])

    # --- inputs and features --------------------------------------------------------------------------

    def batch(self) -> dict[str, Tensor]:
        """The inputs of all samples."""
        return self.collate([sample.inputs for sample in self.samples])

    def collate(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """One batch of the inputs of single images."""
        return self.compose().preprocessor.collate(images)

    def states(self, inputs: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """Hidden states 0 to N that one tower returns, each of them image by image."""
        images = [part.chunk(self.depth + 1, dim=-1) for part in run(self.compose_all_states(), inputs)]
        return [list(state) for state in zip(*images, strict=True)]

    # --- what transformers makes of an image ----------------------------------------------------------

    def reference_features(self, inputs: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Hidden states 0 to N of one image, and its outputs by the keys of :meth:`outputs`.

        The states are taken at the blocks, since some classes return them normed, pooled or reordered.
        """
        model: nn.Module = self.reference
        blocks = self.family.block_list(model)
        states: list[Tensor] = []

        def keep_input(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states.append(args[0] if args else next(iter(kwargs.values())))

        def keep_output(module: Any, args: Any, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        handles = [blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
        handles += [block.register_forward_hook(keep_output) for block in blocks]
        try:
            with torch.no_grad():
                output = model(**self.family.reference_inputs(inputs))
        finally:
            for handle in handles:
                handle.remove()
        if len(states) != self.depth + 1:
            raise ConformanceError(
                f"transformers' class runs {len(states) - 1} blocks for num_hidden_layers {self.depth}"
            )
        with torch.no_grad():
            return [self._tokens(state, inputs) for state in states], self._outputs(states, output, inputs)

    def _outputs(
        self, states: Sequence[Tensor], output: Any, inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        tower = self.compose()
        batch = tower.tower.read(inputs)
        (count,) = tower.tower.rows_per_image(batch.grids)
        own = self.family.reference_output(output, batch).flatten(0, -2)
        outputs = {named({}): own[:count]}
        if self.encoder.has_post_norm:
            normed = self.reference.get_submodule(self.family.post_norm)(states[-1])
            key = {"select_layers": [self.depth], "post_norm": "last"}
            outputs[named(key)] = self._tokens(normed, inputs)
        if self.encoder.deepstack:
            outputs[named({"deepstack": "none"})] = own[:, : tower.info.out_hidden_size]
        if self.encoder.has_head:
            outputs[named({"head": True})] = output.pooler_output
        return outputs

    def _tokens(self, state: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """A hidden state of transformers' class as the tower returns that of one image."""
        tower = self.compose().tower
        batch = tower.read(inputs)
        layout = self.family.layout(self.reference, batch, torch.device("cpu"), torch.float32)
        hidden_states, _ = self.family.embed(self.reference, batch, layout)
        count = prod(hidden_states.shape[:-1])  # what transformers pads stands behind
        flat = state.flatten(0, -2)[:count].view(hidden_states.shape)
        tokens = self.family.reference_tokens(self.reference, flat, layout)
        image: Tensor = batch.split(tokens, lambda grid: tokens.shape[-2])[0]
        return image


def run(tower: ComposedVisionEncoder, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """A tower's features, image by image."""
    with torch.no_grad():
        return list(tower(**inputs))


def named(keys: Mapping[str, Any]) -> str:
    """Keys of a config as they would stand in it."""
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items()) or "select_layers: null"
