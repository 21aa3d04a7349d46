"""The conformance check of an encoder family: what every family here passes, for authors of others.

Call it in a test of your own::

    from vision_composer.testing import check_encoder

    def test_my_family():
        check_encoder("my_model_type")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from .compose import compose
from .encoders import EncoderFamily, family_of
from .errors import ConformanceError, InputError
from .schemas import EncoderConfig, GenericEncoderConfig, TowerConfig, encoder_config
from .tower import ComposedVisionEncoder

_TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_TOLERANCE = 1e-5
"""Rounding differs between batch sizes and kernels; a wrong stage differs by far more."""


def check_encoder(encoder: str | Mapping[str, Any] | EncoderConfig) -> None:
    """Check that an encoder family keeps what the rest of the package relies on.

    ``hidden states``: each equals that of transformers' class, as do last_hidden_state and the pooled output.
    ``tokens``: as many come out as planned, for images of several sizes.
    ``truncation``: no block is built beyond the deepest selected, and fewer blocks change no features.
    ``gradients``: every parameter gets one.
    ``independence``: an image's features do not depend on the others of its batch, even if they are NaN.
    ``planned tensors``: they are the module's parameters, under the names that it saves.
    ``saving``: a saved tower composed again is the same.

    Takes seconds, on the CPU, with random float32 weights; leaves torch's random state as it was.

    Args:
        encoder: A registered model_type, to check at a tiny size with the config's other defaults; or a
            config block, as a mapping or validated. Its weights are made, so keep it small.

    Raises:
        ConformanceError: The first property that does not hold, and how; an AssertionError too. Whatever
            else the family raises on the way is its cause.
        InputError: No valid config block, or one of the generic adapter or of a packed or tiled encoder.
    """
    config = _config(encoder)
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with _checking(config, "hidden states"):
            subject = _Subject(config, family_of(config), Path(folder))
        for name, check in _PROPERTIES.items():
            with _checking(config, name):
                check(subject)


def _config(encoder: str | Mapping[str, Any] | EncoderConfig) -> EncoderConfig:
    try:
        if isinstance(encoder, str):
            default = encoder_config({"model_type": encoder})
            tiny = {key: value for key, value in _TINY.items() if key in type(default).model_fields}
            encoder = {"model_type": encoder, **tiny, **family_of(default).tiny}
        config = encoder_config(encoder)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in error.errors(include_url=False)
        )
        raise InputError(f"not a valid encoder block: {reasons}") from None
    if isinstance(config, GenericEncoderConfig):
        raise InputError("the generic adapter makes none of the promises that check_encoder checks")
    if config.rope_type != "none" or config.tiled:
        kind = "tiled" if config.tiled else config.rope_type
        raise InputError(f"check_encoder covers dense encoders; {config.model_type} is {kind}")
    return config


@contextmanager
def _checking(encoder: EncoderConfig, name: str) -> Iterator[None]:
    """Names the encoder and the property in whatever is raised inside."""
    try:
        yield
    except ConformanceError as error:
        raise ConformanceError(f"{encoder.model_type}: {name}: {error}") from None
    except Exception as error:  # a family's own code can raise anything
        raise ConformanceError(
            f"{encoder.model_type}: {name}: {type(error).__name__} was raised: {error}"
        ) from error


@dataclass
class _Subject:
    """An encoder, a checkpoint of it, and towers composed from that."""

    encoder: EncoderConfig
    family: EncoderFamily
    folder: Path
    towers: dict[str, ComposedVisionEncoder] = field(default_factory=dict)
    saved: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.family.transformers_config(self.encoder, self.depth, head=self.encoder.has_head)
        self.reference = self.family.transformers_class(config)(config).eval()
        with torch.no_grad():
            for parameter in self.reference.parameters():
                # Off its initial value, so that no zero or one can hide a stage that was left out.
                parameter.add_(torch.randn_like(parameter) * 0.05)
        self.reference.save_pretrained(self.folder / "checkpoint")

    @property
    def depth(self) -> int:
        return self.encoder.num_hidden_layers

    def config(self, **keys: Any) -> TowerConfig:
        weights = {"source": str(self.folder / "checkpoint")}
        return TowerConfig.model_validate({"schema": 1, "encoder": self.encoder, "weights": weights, **keys})

    def compose(self, **keys: Any) -> ComposedVisionEncoder:
        """The tower with these keys, composed once."""
        name = _named(keys)
        if name not in self.towers:
            self.towers[name] = compose(self.config(**keys), device="cpu")
        return self.towers[name].eval()

    def save(self, **keys: Any) -> Path:
        """The folder that the tower with these keys is saved in, once."""
        name = _named(keys)
        if name not in self.saved:
            self.saved[name] = self.folder / f"saved-{len(self.saved)}"
            self.compose(**keys).save(self.saved[name])
        return self.saved[name]

    def compose_all_states(self) -> ComposedVisionEncoder:
        return self.compose(select_layers=list(range(self.depth + 1)))

    def selections(self) -> list[dict[str, Any]]:
        """Towers of every depth, that with the post-norm, the encoder's own, and that with the head."""
        layers: list[dict[str, Any]] = [{"select_layers": [k]} for k in range(self.depth + 1)]
        if self.encoder.has_post_norm and not self.family.norms_last_hidden_state:
            layers.append({"post_norm": "last"})
        return [*layers, {}, *([{"head": True}] if self.encoder.has_head else [])]

    def pixels(self, images: int, *, size: tuple[int, int] | None = None) -> Tensor:
        """Random pixel_values; ``size`` is (width, height)."""
        width, height = size or (self.encoder.image_size, self.encoder.image_size)
        return torch.randn(images, self.encoder.num_channels, height, width)


def _check_hidden_states(subject: _Subject) -> None:
    pixel_values = subject.pixels(2)
    theirs, output = _reference_states(subject, pixel_values)
    ours = _run(subject.compose_all_states(), pixel_values).chunk(subject.depth + 1, dim=-1)
    for k, (got, want) in enumerate(zip(ours, theirs, strict=True)):
        _equal(got, want, f"hidden state {k}, of {subject.depth}")
    last = output.last_hidden_state
    if last.dim() == 4:  # (images, channels, rows, columns)
        last = last.flatten(2).transpose(1, 2)
    _equal(_run(subject.compose(), pixel_values), last, "last_hidden_state")
    if subject.encoder.has_head:
        pooled = _run(subject.compose(head=True), pixel_values)
        _equal(pooled[:, 0], output.pooler_output, "the head's output")


def _reference_states(subject: _Subject, pixel_values: Tensor) -> tuple[list[Tensor], Any]:
    """transformers' hidden states 0 to N, and its output.

    The last is taken from the last block, since some classes return it normed and some do not.
    """
    last: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    handle = subject.family.block_list(subject.reference)[-1].register_forward_hook(keep)
    try:
        with torch.no_grad():
            output = subject.reference(pixel_values=pixel_values, output_hidden_states=True)
    finally:
        handle.remove()
    states = output.hidden_states
    if len(states) != subject.depth + 1:
        raise ConformanceError(
            f"transformers' class returns {len(states)} hidden states for num_hidden_layers {subject.depth}"
        )
    return [subject.family.as_tokens(state) for state in (*states[:-1], last[-1])], output


def _check_tokens(subject: _Subject) -> None:
    tower = subject.compose(select_layers=[0])
    patches = subject.compose(select_layers=[0], feature_select_strategy="default")
    side, patch = subject.encoder.image_size, subject.encoder.patch_size
    sizes = [(side, side)]
    if tower.info.any_size:
        sizes += [(patch, patch), (3 * patch, 2 * patch), (2 * patch + 1, 5 * patch - 1)]
    for size in sizes:
        pixel_values = subject.pixels(1, size=size)
        for made, what in ((tower, "tokens"), (patches, "tokens without the prefix tokens")):
            got, planned = _run(made, pixel_values).shape[1], made.plan.num_tokens(*size)
            if got != planned:
                where = f"an image of {size[0]}x{size[1]} pixels"
                raise ConformanceError(f"{where} gives {got} {what}, and {planned} are planned")


def _check_truncation(subject: _Subject) -> None:
    pixel_values = subject.pixels(2)
    states = _run(subject.compose_all_states(), pixel_values).chunk(subject.depth + 1, dim=-1)
    for k, state in enumerate(states):
        tower = subject.compose(select_layers=[k])
        if len(tower.blocks) != k:
            raise ConformanceError(f"{len(tower.blocks)} blocks are built for hidden state {k}")
        _equal(_run(tower, pixel_values), state, f"hidden state {k} of a tower cut to {k} blocks")


def _check_gradients(subject: _Subject) -> None:
    for keys in subject.selections():
        tower = subject.compose(**keys).train()
        tower(pixel_values=subject.pixels(2)).square().sum().backward()
        for name, parameter in tower.named_parameters():
            if parameter.grad is None:
                raise ConformanceError(f"{name} gets none in a tower with {_named(keys)}")
            if not parameter.grad.isfinite().all():
                raise ConformanceError(f"{name} gets one that is not finite in a tower with {_named(keys)}")


def _check_independence(subject: _Subject) -> None:
    image, other = subject.pixels(1), subject.pixels(1)
    for keys in subject.selections()[subject.depth :]:  # the deepest ones
        tower = subject.compose(**keys)
        alone = _run(tower, image)
        for mate, what in ((other, "another image"), (torch.full_like(other, torch.nan), "an image of NaN")):
            for batch, position in (([image, mate], 0), ([mate, image], 1)):
                got = _run(tower, torch.cat(batch))[position : position + 1]
                _equal(got, alone, f"the features of an image beside {what}")


def _check_planned_tensors(subject: _Subject) -> None:
    for keys in subject.selections():
        tower = subject.compose(**keys)
        planned = tower.plan.shapes or {}
        with safe_open(subject.save(**keys) / "model.safetensors", framework="pt") as file:
            saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        for name in sorted(planned.keys() | saved.keys()):
            if planned.get(name) != saved.get(name):
                raise ConformanceError(
                    f"{name} is planned as {planned.get(name, 'nothing')} and saved as "
                    f"{saved.get(name, 'nothing')} by a tower with {_named(keys)}"
                )
        numbers = (tower.plan.num_parameters, sum(parameter.numel() for parameter in tower.parameters()))
        if numbers[0] != numbers[1]:
            raise ConformanceError(
                f"{numbers[0]} parameters are planned for a tower with {_named(keys)} of {numbers[1]}"
            )


def _check_saving(subject: _Subject) -> None:
    pixel_values = subject.pixels(2)
    for keys in subject.selections()[subject.depth - 1 :]:
        tower = subject.compose(**keys)
        again = compose(subject.save(**keys), device="cpu")
        what = f"of a tower with {_named(keys)}, saved and composed again"
        if again.config.encoder != subject.encoder:
            raise ConformanceError(f"the encoder block {what}, is {again.config.encoder!r}")
        ours, theirs = tower.state_dict(), again.state_dict()
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name]):
                raise ConformanceError(f"{name} is not the same in the state_dict {what}")
        _equal(_run(again, pixel_values), _run(tower, pixel_values), f"the features {what}")


def _run(tower: ComposedVisionEncoder, pixel_values: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = tower(pixel_values=pixel_values)
        return features


def _equal(got: Tensor, want: Tensor, what: str) -> None:
    if got.shape != want.shape:
        raise ConformanceError(f"{what} has shape {tuple(got.shape)}, not {tuple(want.shape)}")
    if not torch.allclose(got, want, rtol=_TOLERANCE, atol=_TOLERANCE):
        if not got.isfinite().all():
            raise ConformanceError(f"{what}: {int((~got.isfinite()).sum())} values are not finite")
        raise ConformanceError(f"{what}: differs by up to {(got - want).abs().max().item():.3g}")


def _named(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items()) or "select_layers: null"


_PROPERTIES: dict[str, Callable[[_Subject], None]] = {
    "hidden states": _check_hidden_states,
    "tokens": _check_tokens,
    "truncation": _check_truncation,
    "gradients": _check_gradients,
    "independence": _check_independence,
    "planned tensors": _check_planned_tensors,
    "saving": _check_saving,
}
