"""Every family that transformers runs padded against transformers itself, and the laws of packing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import padded, tiny
from support.checkpoints import Folders
from support.compare import assert_as_exact, assert_close
from support.padded import DEPTH, SHAPES, Batch, Theirs, batch_of, reference

from vision_composer import compose
from vision_composer.errors import WeightsError

NAMES = list(tiny.PADDED)
LAYERS = [None, [-2], [0], [-1], [3, 1], [4, 0, 0]]

each_family = pytest.mark.parametrize("name", NAMES)
each_normed = pytest.mark.parametrize("name", [name for name in NAMES if padded.has_post_norm(name)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Folders(tmp_path_factory.mktemp("checkpoints"), reference)


def config(name: str, folders: dict[str, Path] | None = None, **keys: Any) -> dict[str, Any]:
    """With weights of transformers' model, or with random ones, which takes much less time."""
    weights = {"source": str(folders[name])} if folders is not None else {}
    return {"schema": 1, "encoder": tiny.PADDED[name], "weights": weights, **keys}


def run(encoder: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


@pytest.mark.parametrize(
    ("post_norm", "layers", "normed"),
    [("none", [-1, 2], []), ("last", [2, -1], [DEPTH]), ("each", [2, 4], [2, 4]), ("auto", [-1], [])],
)
@each_normed
def test_post_norm(
    name: str, post_norm: str, layers: list[int], normed: list[int], folders: dict[str, Path]
) -> None:
    batch = batch_of(name, SHAPES[1])
    theirs, norm = Theirs(name, batch), reference(name).post_layernorm
    want = []
    for image in range(len(SHAPES[1])):
        states = {k % (DEPTH + 1): theirs.states[k][image] for k in layers}
        with torch.no_grad():
            want.append(torch.cat([norm(h) if k in normed else h for k, h in states.items()], dim=-1))
    assert_close(run(compose(config(name, folders, select_layers=layers, post_norm=post_norm)), batch), want)


def test_the_pooling_head_equals_transformers(folders: dict[str, Path]) -> None:
    name = "siglip2_vision_model"
    encoder = compose(config(name, folders, head=True))
    for shapes in SHAPES:
        batch = batch_of(name, shapes)
        got = run(encoder, batch)
        assert {part.shape for part in got} == {(1, 32)}
        assert_as_exact(torch.cat(got), Theirs(name, batch).pooled, Theirs.exact(name, batch).pooled)
    assert encoder.plan.num_tokens(123, 45) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@each_family
def test_half_precision_is_as_close_as_transformers_own(
    name: str, dtype: torch.dtype, folders: dict[str, Path]
) -> None:
    batch = batch_of(name, SHAPES[1])
    exact = Theirs.exact(name, batch).last
    half = type(reference(name)).from_pretrained(folders[name], dtype=dtype).eval()
    with torch.no_grad():
        theirs = Theirs(name, dict(batch, pixel_values=_cast(name, batch, dtype)), half).last
        ours = run(compose(config(name, folders), dtype=dtype), batch)
    assert {image.dtype for image in ours} == {dtype}
    assert_as_exact(ours, theirs, exact)


def _cast(name: str, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """Pixels for transformers' tower: those of Idefics do not cast them themselves."""
    pixels = batch["pixel_values"]
    return pixels.to(dtype) if name.startswith(("idefics", "smolvlm")) else pixels


@each_family
def test_position_tables_train_after_the_layout_is_cached(name: str, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders, select_layers=[0]))
    batch = batch_of(name, SHAPES[2])
    before = run(encoder, batch)
    table = next(p for path, p in encoder.named_parameters() if "position_embedding" in path)
    with torch.no_grad():
        table.zero_()
    assert not torch.allclose(run(encoder, batch)[0], before[0])


@pytest.mark.parametrize(("bound", "refused"), [(torch.inf, False), (torch.nan, True)])
def test_bounds_of_a_clamp_may_be_infinite(bound: float, refused: bool, tmp_path: Path) -> None:
    name = "gemma4_vision/clipped"
    model = tiny.reference(tiny.PADDED[name])
    for path, buffer in model.named_buffers():
        if path.endswith("_max"):
            buffer.fill_(bound)
    keys = config(name, {name: tiny.save(model, tmp_path)})
    if refused:
        with pytest.raises(WeightsError, match="holds NaN"):
            compose(keys)
    else:
        batch = batch_of(name, SHAPES[1])
        assert_close(run(compose(keys), batch), Theirs(name, batch, model).last)
