"""The composed encoder: images in, features out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .attention import AttentionChoice
from .encoders import AnyFamily, Grid, VisionEncoderInfo
from .errors import InputError
from .images.decode import ImageLike
from .images.preprocess import ImagePreprocessor
from .parallel import DataParallel
from .planning import Plan
from .running.evaluation import EvaluationMode
from .running.warmup import BatchOfSizes, warm_up
from .schemas import TowerConfig
from .tower.module import Features, VisionTower
from .weights import save_tower


class ComposedVisionEncoder(nn.Module):
    """A vision encoder that returns the features that were selected.

    :func:`vision_composer.compose` makes one from a config. Its parameters are those of transformers' own
    module, ``encoder.model``; blocks, norms and heads that the selection does not need are not there.

    Args:
        plan: What the config amounts to.
        tower: Runs a batch.
        preprocessor: Makes batches of images.
        attention: Which attention backend runs the blocks, and why.
        parallel: Runs the images on several processes; None for one process.
    """

    tower: VisionTower

    def __init__(
        self,
        plan: Plan,
        tower: VisionTower,
        preprocessor: ImagePreprocessor,
        attention: AttentionChoice,
        *,
        parallel: DataParallel | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.model = tower.model
        # No submodule: parameters have one name, that of transformers' module.
        self.__dict__["tower"] = tower
        self.preprocessor = preprocessor
        self.attention = attention
        self.parallel = parallel
        self._evaluation = EvaluationMode()

    @property
    def config(self) -> TowerConfig:
        """The config this encoder was composed from."""
        return self.plan.config

    @property
    def info(self) -> VisionEncoderInfo:
        """The encoder's facts."""
        return self.plan.info

    @property
    def family(self) -> AnyFamily:
        """The encoder's adapter."""
        return self.tower.family

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        return self.tower.blocks

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.tower.device

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the parameters, and of the output."""
        return self.tower.dtype

    @property
    def output_width(self) -> int:
        """Features of a token."""
        return self.plan.output_width

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens of one image of that size in pixels, or of a clip; see :meth:`Plan.num_tokens`."""
        return self.plan.num_tokens(width, height, frames)

    def forward(self, pixel_values: Tensor | None = None, **inputs: Any) -> Features:
        """Encode a batch.

        Args:
            pixel_values: The pixels, as the family's image processor returns them.
            **inputs: What else it returns, by the same names; see ``read`` of the family. Pixels are floating
                point and cast to the parameters' dtype.

        Returns:
            Features in the parameters' dtype, contiguous.

            - Where all images have as many tokens by nature: (images, tokens, width).
            - Elsewhere one (tokens, width) tensor per image or clip, in input order: merged tokens in raster
              order, or with ``select_layers`` the patches in the order of the input (Pixtral: raster order;
              Qwen: by squares that are merged, see ``QwenVL``; Llama 3.2: tile after tile, without padding).
            - With ``deepstack: separate``, (1 + levels, tokens, width): the main features first, then the
              levels from the shallowest to the deepest.
            - With ``head`` one token each.

        Raises:
            InputError: Anything that the encoder cannot take.
            DistributedError: Another rank failed, is gone, or was called with something else.
        """
        if pixel_values is not None:
            inputs["pixel_values"] = pixel_values
        if self.parallel is not None:
            return self.parallel.start(**inputs).wait()
        features: Features = self.tower(self.tower.read(inputs))
        return features

    def image_grids(self, inputs: Mapping[str, Any]) -> tuple[Grid, ...]:
        """Frames (or tiles), patch rows and patch columns of every image in a batch.

        Raises:
            InputError: As :meth:`forward`.
        """
        return self.tower.read(inputs).grids

    def preprocess(self, images: Sequence[ImageLike], *, first: int = 0) -> dict[str, Tensor]:
        """Turn images into the encoder's inputs, on its device.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).
            first: What the first image without a path counts as in errors.

        Raises:
            ImageError: An image that cannot be read; names it.
        """
        batch = self.preprocessor(images, first=first)
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def encode(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 8) -> list[Tensor]:
        """Encode images, without gradients and without dropout.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]); one or many.
            batch_size: Images per forward, and process where there are several.

        Returns:
            One (tokens, width) tensor per image, in order, each owning its memory.

        Raises:
            ImageError: An image that cannot be read; names it.
            InputError: A batch size below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        listed = [images] if isinstance(images, str) or not isinstance(images, Sequence) else list(images)
        features: list[Tensor] = []
        step = batch_size if self.parallel is None else batch_size * self.parallel.size
        with self.evaluating():
            for start in range(0, len(listed), step):
                some = listed[start : start + step]
                if self.parallel is None:
                    output = self(**self.preprocess(some, first=start))
                else:
                    output = self.parallel.encode_images(some, first=start)
                features.extend(row.clone() for row in output)
        return features

    def warmup(self, batches: Iterable[BatchOfSizes]) -> float:
        """Run random images, so that what is compiled or cached on first use is there, and check it.

        A compiled tower runs every batch uncompiled too, and the features are compared.

        Args:
            batches: The batches to expect. Each is a number of images of the encoder's own size, one
                ``(width, height)`` in pixels, or a list of them for images that come together.

        Returns:
            The largest difference of a token's features, relative to their norm; 0.0 for a tower that is not
            compiled.

        Raises:
            CompiledDifferenceError: The difference is larger than rounding explains.
            InputError: A batch is neither a number, a size, nor a list of sizes.
        """
        with self.evaluating():
            return warm_up(
                lambda inputs: self(**inputs),
                self.preprocess,
                batches,
                image_size=self.info.image_size,
                dtype=self.dtype,
            )

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode without gradients; afterwards every module is in the mode it was in.

        Several threads may be in it at once: the last one to leave restores the modes.
        """
        return self._evaluation(self)

    def save(self, folder: str | Path) -> None:
        """Write the tower as ``tower.yaml``, ``model.safetensors`` and the image processor's config.

        ``compose(folder)`` reads it back. Tensors keep the names that transformers' own class saves under.
        Of several processes the first one writes; nobody waits for it.

        Args:
            folder: Made if it does not exist.

        Raises:
            WeightsError: It cannot be written, or the tower's dtype is not one that a config can name.
        """
        if self.parallel is None or self.parallel.rank == 0:
            save_tower(
                self.model,
                self.preprocessor.processor,
                self.config,
                Path(folder).expanduser(),
                dtype=self.dtype,
            )
