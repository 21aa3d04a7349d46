"""What ``compose`` returns, be it of one tower or of several: images in, features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from .bridges.flags import without_flags
from .building import Vision
from .encoders import Grid
from .errors import ImageError, InputError
from .images.decode import Clip, ImageLike, image_name
from .images.preprocess import Preprocessor
from .images.read_ahead import read_ahead
from .images.reading import Arrays
from .parallel import DataParallel
from .planning import AnyPlan
from .running.evaluation import EvaluationMode
from .running.finite import NOT_FINITE, not_finite
from .running.warmup import BatchOfSizes, warm_up
from .schemas import AnyConfig
from .schemas.summary import as_html, as_text
from .tower.base import Features

if TYPE_CHECKING:
    from .bridges.vision import VisionComposerModel


class VisionEncoder(nn.Module, ABC):
    """A vision encoder that returns the features that its config selects.

    :func:`vision_composer.compose` builds one from a config. Give :meth:`encode` images, or call the encoder
    with the tensors that :meth:`preprocess` makes of them.

    Args:
        plan: The config, and every fact that follows from it without weights.
        vision: The module that runs a batch.
        preprocessor: What turns images into the module's inputs.
        parallel: What spreads images over several processes; None if there is one process.
    """

    vision: Vision

    def __init__(
        self, plan: AnyPlan, vision: Vision, preprocessor: Preprocessor, *, parallel: DataParallel | None
    ) -> None:
        super().__init__()
        self.plan = plan
        # Not a submodule, which would give every parameter a second name beside that of transformers' module.
        self.__dict__["vision"] = vision
        self.preprocessor = preprocessor
        self.parallel = parallel
        self._evaluation = EvaluationMode()

    def __str__(self) -> str:
        return as_text(self.config.name, self._rows())

    def _repr_html_(self) -> str:
        return as_html(self.config.name, self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        return [*self.plan.rows(), ("device", str(self.device))]

    @property
    def config(self) -> AnyConfig:
        """The config that this encoder was composed from."""
        return self.plan.config

    @property
    def device(self) -> torch.device:
        """The device that the parameters are on."""
        return self.vision.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters and of the output."""
        return self.vision.dtype

    @property
    def output_width(self) -> int:
        """How many features an output token has."""
        return self.plan.output_width

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Count the output tokens of one image, or of a clip of ``frames``, as it comes.

        How :meth:`preprocess` resizes, crops and pads it is counted in.

        Raises:
            InputError: If the image is empty, or too small or too thin for the encoder.
        """
        return self.plan.num_tokens(width, height, frames)

    def forward(self, pixel_values: Tensor | None = None, **inputs: Any) -> Features:
        """Encode a batch.

        Args:
            pixel_values: The pixels, as :meth:`preprocess` or the family's image processor in transformers
                returns them: floating point, in any floating dtype.
            **inputs: The image processor's other tensors under their own names, such as ``image_grid_thw``;
                the family's ``read`` documents them. Flags of transformers' models, such as
                ``output_hidden_states``, are allowed as long as they ask for nothing.

        Returns:
            Features in the parameters' dtype, contiguous.

            - Of a dense encoder, whose images all have the same number of tokens: (images, tokens, width).
            - Of any other encoder: a tuple with one (tokens, width) tensor per image or clip, in input order.
              The encoder's own output is merged tokens in raster order. Selected hidden states have one token
              per patch, in the order of the input patches: raster order for Pixtral, square by square for
              Qwen (see ``QwenVL``), tile after tile without padding for Llama 3.2.
            - With ``deepstack: separate``: (1 + levels, tokens, width) per image, the main features first,
              then the levels from the shallowest to the deepest.
            - With ``head: true``: one token per image.
            - With ``output: tiles`` or ``embeds``: one (rows, width) tensor per image, tile after tile or as
              the language model reads them.
            - With ``reduce``: one (tokens, width) tensor per image, of the tokens that stay.

        Raises:
            InputError: If inputs are missing, unknown, of a wrong shape or dtype, or do not fit together.
            DistributedError: If another process fails, is gone, or is called with images of other sizes.
        """
        if pixel_values is not None:
            inputs["pixel_values"] = pixel_values
        inputs = without_flags(inputs)
        if self.parallel is not None:
            return self.parallel.start(**inputs).wait()
        features: Features = self.vision(self.vision.read(inputs))
        return features

    def image_grids(self, inputs: Mapping[str, Any]) -> tuple[Grid, ...]:
        """Return the frames (or tiles), patch rows and patch columns of every image in a batch.

        Args:
            inputs: What :meth:`preprocess` returns.

        Raises:
            InputError: If :meth:`forward` would refuse the inputs.
        """
        return self.vision.read(inputs).grids

    def preprocess(self, images: Sequence[ImageLike | Clip], *, first: int = 0) -> dict[str, Tensor]:
        """Turn images into the encoder's inputs: pixels on its device, grids and masks on the CPU.

        Images are decoded and resized on the CPU; what the family's image processor computes after that is
        computed on the device, to the same bits. ``encoder.preprocessor`` has the two halves, ``read`` and
        ``finish``, for whoever reads images elsewhere.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]); clips as lists of these,
                for encoders that take clips.
            first: Number of the first image, for errors that name images without a path.

        Returns:
            The inputs of :meth:`forward`, by name.

        Raises:
            ImageError: If an image cannot be read; the message names it.
            InputError: If there are no images, it is no list of them, or the encoder takes no clips.
        """
        return self.preprocessor.finish(self.preprocessor.read(images, first=first), self.device)

    @overload
    def encode(
        self,
        images: ImageLike | bytes | Iterable[ImageLike | bytes | Clip],
        *,
        batch_size: int = 8,
        errors: Literal["raise"] = "raise",
    ) -> list[Tensor]: ...

    @overload
    def encode(
        self,
        images: ImageLike | bytes | Iterable[ImageLike | bytes | Clip],
        *,
        batch_size: int = 8,
        errors: Literal["return"],
    ) -> list[Tensor | ImageError]: ...

    def encode(
        self,
        images: ImageLike | bytes | Iterable[ImageLike | bytes | Clip],
        *,
        batch_size: int = 8,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Tensor] | list[Tensor | ImageError]:
        """Encode images in evaluation mode: without gradients and without dropout.

        Threads read the images of the next batch while this one is encoded.

        Args:
            images: One image or several: paths, the bytes of files, PIL images, or uint8 arrays (height,
                width[, channels]). For encoders that take clips, a list among them is a clip; its frames are
                resized as images are.
            batch_size: Images per forward and process.
            errors: What becomes of an image that cannot be read, or whose features are NaN or infinite:
                ``raise`` its error, or ``return`` the error in the image's place, beside the features of the
                others.

        Returns:
            One (tokens, width) tensor per image, in order, each in memory of its own; or, if errors are
            returned, an :class:`ImageError` in the place of an image that failed. With
            ``parallel: {inputs: sharded}`` every process gives images of its own, and gets the features of
            all: those of the first process, then of the second, and so on.

        Raises:
            ImageError: If an image cannot be read, or its features are NaN or infinite; the message names it.
            InputError: If ``batch_size`` is below 1, there are clips for an encoder that takes none, or
                errors are to be returned by a tower that is spread over processes.
            DistributedError: If another process fails, is gone, or is given another list of images.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        if errors not in ("raise", "return"):
            raise InputError(f'errors is {errors!r}; it must be "raise" or "return"')
        listed = _listed(images)
        with self.evaluating():
            if self.parallel is not None:
                if errors == "return":
                    raise InputError(
                        'a tower that is spread over processes cannot do errors="return": a process would '
                        "have to tell the others which of its images failed"
                    )
                return self.parallel.encode_images(listed, batch_size=batch_size)
            results: list[Tensor | ImageError] = []
            ahead = read_ahead(
                listed, lambda i, image: self.preprocessor.read([image], first=i)[0], ahead=2 * batch_size
            )
            with closing(ahead):
                while batch := list(islice(ahead, batch_size)):
                    if errors == "raise":
                        _raise_first(batch)
                    results += self._encode_read(batch, listed, first=len(results))
                    if errors == "raise":
                        _raise_first(results[-len(batch) :])
        return results

    def _encode_read(
        self, batch: list[Arrays | ImageError], images: Sequence[ImageLike | Clip], *, first: int
    ) -> list[Tensor | ImageError]:
        """Encode what was read of ``images[first:]``; return every image's features or error, in order."""
        read = [inputs for inputs in batch if not isinstance(inputs, ImageError)]
        output = self(**self.preprocessor.finish(read, self.device)) if read else ()
        wrong = set(not_finite(output)) if read else set()
        encoded = iter(enumerate(output))
        results: list[Tensor | ImageError] = []
        for place, inputs in enumerate(batch, first):
            if isinstance(inputs, ImageError):
                results.append(inputs)
                continue
            index, row = next(encoded)
            failed = index in wrong
            results.append(
                ImageError(image_name(images[place], f"image {place}"), NOT_FINITE) if failed else row.clone()
            )
        return results

    def warmup(self, batches: Iterable[BatchOfSizes]) -> float:
        """Run random images, so that compilation and first use are over before real images come.

        Every batch also runs uncompiled, and the features are compared.

        Args:
            batches: The batches to expect. Each is a number of images of the encoder's own size, one
                ``(width, height)`` in pixels, or a list of such sizes for images of one batch.

        Returns:
            The largest difference between a token's compiled and uncompiled features, relative to their norm;
            0.0 if the tower is not compiled.

        Raises:
            CompiledDifferenceError: If the difference is larger than rounding explains.
            InputError: If a batch is neither a number, a size, nor a list of sizes.
        """
        with self.evaluating():
            return warm_up(
                lambda inputs: self(**inputs),
                self.preprocess,
                batches,
                image_size=self.plan.image_size,
                dtype=self.dtype,
                in_8_bits=self.config.quantize in ("int8-dynamic", "float8"),
            )

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context that puts the encoder into evaluation mode without gradients.

        Afterwards every module is in the mode it was in before. Several threads may be inside at once: the
        last one to leave restores the modes.
        """
        return self._evaluation(self)

    @abstractmethod
    def as_transformers(self) -> VisionComposerModel:
        """Return the encoder as a model of transformers: the tower of a VLM, or of any code for such models.

        It is a ``PreTrainedModel``, shares its parameters with this encoder, and returns the encoder's
        features as its only hidden state. What it saves, :func:`vision_composer.register_transformers` lets
        ``AutoModel`` load.

        Raises:
            InputError: If the encoder has several towers, spreads images over processes, reduces tokens or is
                quantised, or DeepStack levels stand on an axis of their own.
        """

    @abstractmethod
    def save(self, folder: str | Path, *, merge_adapters: bool = False) -> None:
        """Write the encoder into a folder that ``compose(folder)`` reads back.

        The folder gets ``tower.yaml``, ``model.safetensors`` and the image processor's config; of several
        towers, each gets a folder of its own below. Tensors keep the names under which transformers' own
        class saves them. Quantised
        weights are written as they are, and their scales beside. Of several processes the first one writes,
        and the others do not wait for it.

        Args:
            folder: Where to write; it is made if it does not exist.
            merge_adapters: Write peft's adapters merged into the weights. The encoder itself keeps them.

        Raises:
            WeightsError: If the folder cannot be written or has a processor_config.json, the tower's dtype is
                not float32, float16 or bfloat16, or its weights are not plain tensors: with adapters unless
                they are merged, under parametrizations, and quantised by other means than ``quantize``.
        """


def _listed(images: Any) -> list[ImageLike | Clip]:
    """Return one image, or several, as a list."""
    one = isinstance(images, (str, bytes, np.ndarray)) or not isinstance(images, Iterable)
    return [images] if one else list(images)


def _raise_first(results: Iterable[object]) -> None:
    for result in results:
        if isinstance(result, ImageError):
            raise result
