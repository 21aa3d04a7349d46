"""The encoder that is checked: with random weights, the towers composed from it, and inputs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..composing import compose_tower
from ..encoder import ComposedVisionEncoder
from ..encoders import AnyFamily
from ..encoders.reference import Sample
from ..errors import ConformanceError
from ..schemas import EncoderConfig, TowerConfig


class Subject:
    """An encoder, a checkpoint of it, and towers composed from that checkpoint.

    Args:
        encoder: The config block.
        family: The encoder's family.
        folder: An empty folder, for the checkpoint and the saved towers.
        device: Where everything runs.

    Attributes:
        samples: Images that can share a batch, and a clip where the encoder takes clips.
        reference: transformers' own module, whole.
    """

    def __init__(self, encoder: EncoderConfig, family: AnyFamily, folder: Path, device: torch.device) -> None:
        self.encoder = encoder
        self.family = family
        self.folder = folder
        self.device = device
        self.reference = self._reference()
        self.reference.save_pretrained(folder / "checkpoint")
        self._towers: dict[str, ComposedVisionEncoder] = {}
        self._saved: dict[str, Path] = {}
        own = self.compose()
        self.samples = [self._here(sample) for sample in family.samples(own.info, own.preprocessor)]

    def _reference(self) -> Any:
        config = self.family.transformers_config(self.encoder, self.depth, head=self.encoder.has_head)
        model = self.family.transformers_class(config)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Moved off its initial value: a weight of zero or one could hide a stage that was left out.
                if parameter.dim() > 1 and parameter.numel() > 1 and parameter.std() > 0.5:
                    # As transformers makes Phi-4's. Rounding errors would grow tenfold in every block.
                    parameter.mul_(0.2)
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model.to(self.device)

    def _here(self, sample: Sample) -> Sample:
        return sample._replace(inputs={name: value.to(self.device) for name, value in sample.inputs.items()})

    @property
    def depth(self) -> int:
        return self.encoder.num_hidden_layers

    # --- towers ---------------------------------------------------------------------------------------

    def compose(self, **keys: Any) -> ComposedVisionEncoder:
        """Return the tower whose config has these keys; each is composed once."""
        name = named(keys)
        if name not in self._towers:
            weights = {"source": str(self.folder / "checkpoint")}
            config = {"schema": 1, "encoder": self.encoder, "weights": weights, **keys}
            self._towers[name] = compose_tower(TowerConfig.model_validate(config), device=self.device)
        return self._towers[name].eval()

    def compose_all_states(self) -> ComposedVisionEncoder:
        """Return the tower that gives all hidden states, concatenated on the feature axis."""
        return self.compose(select_layers=list(range(self.depth + 1)))

    def save(self, **keys: Any) -> Path:
        """Save the tower with these keys, once, and return its folder."""
        name = named(keys)
        if name not in self._saved:
            self._saved[name] = self.folder / f"saved-{len(self._saved)}"
            self.compose(**keys).save(self._saved[name])
        return self._saved[name]

    def samples_alone(self) -> list[Sample]:
        """Further images, of sizes that can share no batch."""
        return [self._here(sample) for sample in self.family.samples_alone(self.compose().info)]

    def layers(self) -> list[dict[str, Any]]:
        """Return the keys of towers that give one hidden state."""
        return [{"select_layers": [k]} for k in range(self.depth + 1)]

    def outputs(self) -> list[dict[str, Any]]:
        """Return the keys of other towers: own output, post-norm, pooling head, without DeepStack levels."""
        outputs: list[dict[str, Any]] = [{}]
        if self.encoder.has_post_norm:
            outputs.append({"select_layers": [self.depth], "post_norm": "last"})
        if self.encoder.deepstack:
            outputs.append({"deepstack": "none"})
        return outputs + ([{"head": True}] if self.encoder.has_head else [])

    # --- inputs and features --------------------------------------------------------------------------

    def batch(self) -> dict[str, Tensor]:
        """Return the inputs of all samples as one batch."""
        return self.collate([sample.inputs for sample in self.samples])

    def collate(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join the inputs of single images into one batch."""
        return self.compose().preprocessor.collate(images)

    def states(self, inputs: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """Return hidden states 0 to N, each image by image, from one tower that gives them all."""
        images = [part.chunk(self.depth + 1, dim=-1) for part in run(self.compose_all_states(), inputs)]
        return [list(state) for state in zip(*images, strict=True)]

    # --- what transformers makes of an image ----------------------------------------------------------

    def reference_features(self, inputs: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return transformers' hidden states 0 to N of one image, and its outputs by :meth:`outputs`' keys.

        The states are taken at the blocks, because some classes return them normed, pooled or reordered.
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
        """Return a hidden state of transformers' class in the form in which the tower returns one image's."""
        tower = self.compose().tower
        batch = tower.read(inputs).to(tower.device, torch.float32)
        layout = self.family.layout(self.reference, batch, tower.device, torch.float32)
        hidden_states, _ = self.family.embed(self.reference, batch, layout)
        count = prod(hidden_states.shape[:-1])  # transformers' padding comes after these tokens
        flat = state.flatten(0, -2)[:count].view(hidden_states.shape)
        tokens = self.family.reference_tokens(self.reference, flat, layout)
        image: Tensor = batch.split(tokens, lambda grid: tokens.shape[-2])[0]
        return image


def run(tower: ComposedVisionEncoder, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return a tower's features, image by image."""
    with torch.no_grad():
        return list(tower(**inputs))


def named(keys: Mapping[str, Any]) -> str:
    """Return keys of a config as text, as they would be written in a file."""
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items()) or "select_layers: null"
