"""The interface of a connector: what stands between a tower and a language model.

Importing a connector loads no torch, so that ``plan`` can ask it for its facts. Methods that build or run
something import torch themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

from ..encoders import Grid, VisionEncoderInfo
from ..encoders.shapes import Shapes, matrix_values
from ..errors import BackendError, ConfigError, InputError, Problem
from ..images.tiling import TilePlan
from ..schemas import EncoderConfig
from ..schemas.connectors import ConnectorConfig
from .text_config import text_width

if TYPE_CHECKING:
    from torch import Tensor, nn

C = TypeVar("C", bound=ConnectorConfig)


@dataclass(frozen=True)
class TowerOutput:
    """What a tower gives to its connector.

    Attributes:
        encoder: The encoder's config block.
        info: The encoder's facts.
        width: Features of a token, of all selected hidden states together.
        num_layers: Selected hidden states; 1 for the tower's own output.
        num_tokens: Counts the tokens of a tile (or of an image that is not cut) with a grid of patches.
        token_grid: Tells their frames, rows and columns.
        planar: Whether they stand row by row in the plane of the image.
    """

    encoder: EncoderConfig
    info: VisionEncoderInfo
    width: int
    num_layers: int
    num_tokens: Callable[[Grid], int]
    token_grid: Callable[[Grid], Grid]
    planar: bool


@dataclass(frozen=True)
class ImageOfTiles:
    """One image as a connector sees it.

    Attributes:
        tiles: How it was cut.
        grid: Frames, patch rows and patch columns of each of its tiles, or of the image that is not cut.
        grids: Those of every tile in order, where they are not all alike; empty where they are.
    """

    tiles: TilePlan
    grid: Grid
    grids: tuple[Grid, ...] = ()

    @classmethod
    def of_grids(cls, tiles: TilePlan, grids: tuple[Grid, ...]) -> Self:
        """Return an image whose tiles have these grids."""
        return cls(tiles, grids[0], grids if len(set(grids)) > 1 else ())

    @property
    def grid_of_each(self) -> tuple[Grid, ...]:
        """The grids of all tiles, in order."""
        return self.grids or (self.grid,) * self.tiles.num_tiles

    @property
    def grid_of_all(self) -> Grid:
        """One grid for all tiles, which has their patches: tiles that are alike are its frames."""
        if self.grids:
            return 1, 1, sum(frames * rows * columns for frames, rows, columns in self.grids)
        frames, rows, columns = self.grid
        return self.tiles.num_tiles * frames, rows, columns


class Connector(ABC, Generic[C]):
    """What one VLM puts between its tower and its language model, run by transformers' own classes.

    Args:
        config: The config block.
        tower: What the tower gives.

    Raises:
        ConfigError: If it cannot read that.
    """

    type: ClassVar[str]
    read_by: ClassVar[tuple[str, ...]] = ()
    """model_type of the VLMs whose connector this is."""
    projector: ClassVar[str] = "multi_modal_projector"
    """Path of what turns tokens into rows, in the module of :meth:`build` as in transformers' model."""
    text_model_type: ClassVar[str] = "llama"
    """model_type of the VLM's language model where the config.json does not say it."""
    of_processor: ClassVar[tuple[str, ...]] = ()
    """Fields of the block that the VLM's image processor has in its JSON, under the same names."""
    implied: ClassVar[tuple[str, ...]] = ()
    """Fields of the VLM's config.json, or of its vision_config, that need no key of a config, because they
    follow from others or say nothing of images."""
    disk_names: ClassVar[Mapping[str, str]] = {}
    """What a tensor's name may begin with on disk -> in transformers' module, where the two differ."""
    row_per_token: ClassVar[bool] = False
    """Whether it makes one row of every token of an image that is not cut, in their order."""
    no_layers: ClassVar[frozenset[str]] = frozenset()
    """Names of matrices that are not the weights of a linear layer as it runs."""
    in_float32: ClassVar[tuple[str, ...]] = ()
    """What tensors' names begin with that transformers keeps in float32 where the model is in float16."""
    reads: ClassVar[Literal["tokens", "patches", "squares"]] = "tokens"
    """What it reads: every token alone, whatever it is; or the patches and nothing else, row by row or by the
    squares that are merged."""

    def __init__(self, config: C, tower: TowerOutput) -> None:
        self.config, self.tower = config, tower
        if fault := self._fault_of_tower():
            raise ConfigError(Problem("VC211", fault, "connector.type"))

    def _fault_of_tower(self) -> str:
        """Say why the tower's tokens are not what :attr:`reads` says; empty if they are."""
        if self.reads == "tokens":
            return ""
        tower, info = self.tower, self.tower.info
        side = max(info.patch_grid_length // info.grid_multiple, 1) * info.grid_multiple
        count = tower.num_tokens((1, side, side))
        if count != side * side:
            remedy = "name select_layers" if tower.planar else "set feature_select_strategy: default"
            return (
                f"{self.type} reads one token for each patch, and the tower gives {count} for {side}x{side} "
                f"patches; {remedy}"
            )
        if self.reads == "patches" and not tower.planar:
            return f"{self.type} reads patches row by row, and {info.model_type} gives them in another order"
        if self.reads == "squares" and info.patch_square != info.grid_multiple:
            return f"{self.type} reads patches square by square, and {info.model_type} gives them row by row"
        return ""

    # --- facts ----------------------------------------------------------------------------------------

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        """Return the block's fields that a VLM's config.json means, without ``type``.

        None is what it does not say. By default there is no field but ``hidden_size``.
        """
        return {"hidden_size": text_width(vlm, cls.text_model_type)}

    def names_on_disk(self) -> Mapping[str, str]:
        """Return what a tensor's name may begin with on disk -> in the module, where the two differ."""
        return self.disk_names

    @property
    def width(self) -> int:
        """Features of a row that the language model reads."""
        return self.config.hidden_size

    @abstractmethod
    def shapes(self) -> Shapes:
        """Return the connector's tensors, named as in transformers' model of the VLM, without ``model.``."""

    def layer_shapes(self) -> Shapes:
        """Return those of :meth:`shapes` that may be weights of linear layers."""
        return {name: shape for name, shape in self.shapes().items() if name not in self.no_layers}

    @property
    def values_in_float32(self) -> int:
        """Values of the tensors of :attr:`in_float32`."""
        return sum(prod(shape) for name, shape in self.shapes().items() if name.startswith(self.in_float32))

    @abstractmethod
    def num_rows(self, image: ImageOfTiles) -> int:
        """Count the rows that an image becomes."""

    @property
    def planar(self) -> bool:
        """Whether the rows of an image that is not cut stand row by row in its plane, frame after frame."""
        return self.row_per_token and self.tower.planar

    def row_grid(self, grid: Grid) -> Grid | None:
        """Return frames, rows and columns of the rows of an image that is not cut; None if they have none.

        Args:
            grid: Frames, patch rows and patch columns of the image.
        """
        return self.tower.token_grid(grid) if self.row_per_token else None

    def flops(self, image: ImageOfTiles) -> int:
        """Count the floating-point operations of matrix products for one image.

        By default that is every matrix applied to every token of the tower.
        """
        tokens = sum(map(self.tower.num_tokens, image.grid_of_each))
        return 2 * tokens * matrix_values(self.shapes())

    # --- building and running -------------------------------------------------------------------------

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the module, with random weights; its state dict has the names of :meth:`shapes`."""

    def vlm_config(self, vision: Mapping[str, Any] | None = None, **own: Any) -> SimpleNamespace:
        """Return what transformers' module reads of its VLM's config.

        Args:
            vision: Fields of its ``vision_config`` beside the tower's width, or in its place.
            **own: Fields of its own, beside the width of the language model.
        """
        return SimpleNamespace(
            vision_config=SimpleNamespace(**{"hidden_size": self.tower.width, **(vision or {})}),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            **own,
        )

    @abstractmethod
    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        """Make what the language model reads.

        Args:
            module: What :meth:`build` returned.
            features: The tower's: (tiles, tokens, width) of all images' tiles one after the other, or one
                (tokens, width) tensor per image or tile.
            images: The images.

        Returns:
            One (rows, :attr:`width`) tensor per image, in order.

        Raises:
            InputError: If the connector cannot run images of such sizes.
        """

    def stacked(self, features: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Return the features of tiles, or of images that are not cut, as (tiles, tokens, width).

        Raises:
            InputError: If they differ in their number of tokens.
        """
        import torch

        if isinstance(features, torch.Tensor):
            return features
        counts = sorted({len(tokens) for tokens in features})
        if len(counts) > 1:
            raise InputError(
                f"the connector {self.type!r} takes images of one size, and these have {counts[0]} to "
                f"{counts[-1]} tokens; give it images of one size, or take a connector of type steps"
            )
        return torch.stack(features)


class TileConnector(Connector[C], Generic[C]):
    """A connector that runs every tile alone, and then puts the tiles of each image together."""

    takes_squares: ClassVar[bool] = False
    """Whether tiles must be single images with as many rows of patches as columns."""

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        """Run tiles (tiles, tokens, width) to (tiles, rows, hidden_size)."""
        rows: Tensor = module.get_submodule(self.projector)(features)
        return rows

    def join(self, module: nn.Module, tiles: Tensor, image: ImageOfTiles) -> Tensor:
        """Put the tiles (tiles, rows, hidden_size) of one image together. By default, one after the other."""
        return tiles.flatten(0, 1)

    def num_tile_rows(self, grid: Grid) -> int:
        """Count the rows that :meth:`project` makes of a tile with this grid; by default, one per token."""
        return self.tower.num_tokens(grid)

    def num_rows(self, image: ImageOfTiles) -> int:
        frames, rows, columns = image.grid
        if image.grids:
            raise InputError(
                f"the connector {self.type!r} takes tiles of one size, and this tiling cuts others; set "
                "tiling: none"
            )
        if self.takes_squares and (frames, rows) != (1, columns):
            given = f"{rows}x{columns} patches" + (f" in {frames} frames" if frames > 1 else "")
            raise InputError(f"the connector {self.type!r} takes square images, not {given}")
        return image.tiles.num_tiles * self.num_tile_rows(image.grid)

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        for image in images:
            self.num_rows(image)  # raises if the connector cannot run it
        rows = self.project(module, self.stacked(features))
        of_images = torch.split(rows, [image.tiles.num_tiles for image in images])
        return tuple(self.join(module, tiles, image) for tiles, image in zip(of_images, images, strict=True))


class GridConnector(Connector[C], Generic[C]):
    """A connector that runs the tokens of all images one after the other, and their grids beside them."""

    @abstractmethod
    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        """Run tokens (tokens, width) to (rows, hidden_size), image after image.

        Args:
            module: What :meth:`build` returned.
            tokens: The tower's, in its order.
            grids: Frames, patch rows and patch columns of the images, (images, 3) int64 on the CPU.
        """

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        counts = [self.num_rows(image) for image in images]
        grids = torch.tensor([image.grid for image in images])
        return torch.split(self.project(module, torch.cat(tuple(features)), grids), counts)


class TokenConnector(GridConnector[C], Generic[C]):
    """A connector that makes one row of every token."""

    row_per_token: ClassVar[bool] = True

    def num_rows(self, image: ImageOfTiles) -> int:
        return self.tower.num_tokens(image.grid)

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(self.projector)(tokens)
        return rows


class SquareConnector(TokenConnector[C], Generic[C]):
    """A connector that makes one row of every square of patches, the squares row by row."""

    reads: ClassVar[Literal["patches", "squares"]] = "squares"

    @property
    def planar(self) -> bool:
        return True

    def row_grid(self, grid: Grid) -> Grid | None:
        frames, rows, columns = grid
        return frames, rows // self.side, columns // self.side

    @property
    def side(self) -> int:
        """Patches along a side of a square."""
        return self.tower.info.grid_multiple

    @property
    def square_width(self) -> int:
        """Features of all patches of a square."""
        return self.tower.width * self.side**2

    def num_rows(self, image: ImageOfTiles) -> int:
        return self.tower.num_tokens(image.grid) // self.side**2

    def flops(self, image: ImageOfTiles) -> int:
        return 2 * self.num_rows(image) * matrix_values(self.shapes())


def transformers_class(module: str, name: str) -> Any:
    """Import a class of a model in transformers.

    Raises:
        BackendError: If the installed transformers lacks it.
    """
    from transformers import __version__

    try:
        return getattr(import_module(f"transformers.models.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"transformers {__version__} has no {module}.{name}, which this connector needs; "
            "install a newer one"
        ) from error


def parts(**named: nn.Module | Tensor) -> nn.Module:
    """Make a module that has these modules and parameters under these names."""
    from torch import nn

    whole = nn.Module()
    for name, part in named.items():
        setattr(whole, name, part if isinstance(part, nn.Module) else nn.Parameter(part))
    return whole


AnyConnector: TypeAlias = Connector[Any]
"""A connector of any type."""
