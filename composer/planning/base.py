"""What every plan tells, be it of one tower or of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..schemas.summary import as_html, as_text

if TYPE_CHECKING:
    from ..encoders import VisionEncoderInfo
    from ..schemas import AnyConfig

BYTES_PER_PARAMETER = {"float32": 4, "float16": 2, "bfloat16": 2}


class VisionPlan(ABC):
    """Every fact of an encoder that follows from its config.

    Attributes:
        config: The config it was made from.
        towers: The plan of every tower by its name, which is empty where there is one only.
    """

    if TYPE_CHECKING:  # at run time, an abstract property would be the default of a dataclass's field

        @property
        def config(self) -> AnyConfig: ...
        @property
        def towers(self) -> Mapping[str, Any]: ...

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side in pixels of the image that the encoder was made for."""

    @property
    @abstractmethod
    def ragged(self) -> bool:
        """Whether features come out image by image, because the number of tokens can differ."""

    @property
    @abstractmethod
    def output_width(self) -> int:
        """Features per token of the output."""

    @property
    @abstractmethod
    def layout(self) -> str:
        """Axes of the output; where images come out apart, of the one tensor that each has."""

    @property
    @abstractmethod
    def num_checkpoint_tensors(self) -> int | None:
        """Tensors that are read from checkpoints; None if the generic adapter runs a tower."""

    @property
    @abstractmethod
    def num_parameters(self) -> int | None:
        """Parameters of all that is built; None if the generic adapter runs a tower."""

    @property
    @abstractmethod
    def num_bytes(self) -> int | None:
        """Bytes that the parameters take in memory, quantised as the config says.

        None if the generic adapter runs a tower.
        """

    def rows(self) -> list[tuple[str, str]]:
        """What a summary says of it, line by line."""
        count = self.num_parameters
        side = self.image_size
        tokens = f"{self.num_tokens(side, side)} tokens of width {self.output_width}"
        return [
            *self.config.rows(),
            ("blocks", str(self.num_blocks)),
            ("parameters", "not counted for the generic adapter" if count is None else f"{count:,}"),
            ("output", f"{self.layout}: {tokens} for an image of {side}x{side}"),
        ]

    def __str__(self) -> str:
        return as_text(self.config.name, self.rows())

    def _repr_html_(self) -> str:
        return as_html(self.config.name, self.rows())

    @property
    def num_blocks(self) -> int:
        """Blocks that are built."""
        return sum(tower.readout.num_blocks for tower in self.towers.values())

    @property
    def dtype(self) -> str:
        """dtype of parameters and output."""
        return self.config.dtype

    @property
    def packs_images(self) -> bool:
        """Whether images of different sizes share one sequence in a tower."""
        return any(tower.info.packed for tower in self.towers.values())

    @property
    def separate_levels(self) -> bool:
        """Whether DeepStack levels stand on an axis of their own."""
        return False

    @property
    def reduces(self) -> bool:
        """Whether the tokens of an image become fewer at the end."""
        return False

    @property
    def begins_with_class_token(self) -> bool:
        """Whether the first token of an image is a class token."""
        return False

    @property
    def values_per_patch(self) -> int:
        """Values of the pixels of a patch, of one frame; of several towers the first one's."""
        info: VisionEncoderInfo = next(iter(self.towers.values())).info
        return info.num_channels * info.patch_size**2

    @abstractmethod
    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Count the rows that come out for one image, or for a clip of ``frames``, as it comes.

        How the image processor resizes, crops, pads and cuts it is counted in.

        Args:
            width: Width of the image in pixels.
            height: Its height.
            frames: Frames of a clip.

        Raises:
            InputError: If the image is empty, or resized to what the encoder does not take, or it takes no
                clips.
        """

    @abstractmethod
    def flops(self, width: int, height: int) -> int | None:
        """Floating-point operations of one image's matrix products, a multiply-add counted as two.

        Counts projections, MLPs, attention's two products, the patch embedding and the head; leaves out
        norms, activations and softmax. None if the generic adapter runs a tower.

        Raises:
            InputError: If the image is empty, or smaller than a patch where the size matters.
        """

    @abstractmethod
    def to_dict(self, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Any]:
        """The plan as JSON-ready values, with tokens and FLOPs for each (width, height) of ``sizes``."""

    def images(self, sizes: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
        """Tokens and FLOPs of an image of each (width, height)."""
        return [
            {
                "width": width,
                "height": height,
                "num_tokens": self.num_tokens(width, height),
                "flops": self.flops(width, height),
            }
            for width, height in sizes
        ]
