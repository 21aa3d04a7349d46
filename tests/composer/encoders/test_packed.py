"""Every packed family against transformers itself, and the laws of packing."""

from __future__ import annotations

import json
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import tiny
from support.checkpoints import Folders
from support.compare import assert_as_exact, assert_close
from support.kinds import one_of_each_kind
from support.packed import (
    DEPTH,
    ENCODERS,
    GRIDS,
    Theirs,
    alone,
    batch_of,
    raw,
    reference,
    tokens_of,
    with_nan,
)
from support.packed import theirs as theirs_of

from vision_composer import compose, plan
from vision_composer.encoders import FAMILIES
from vision_composer.errors import ConfigError, ImageError, InputError, WeightsError
from vision_composer.jobs import encode_images, read_features
from vision_composer.weights.names import TensorNames

LAYERS = [None, [-1, -3], *(pytest.param(layers, marks=pytest.mark.slow) for layers in ([0], [4, 0, 0]))]

DEEPSTACK = [name for name in tiny.PACKED if name.startswith(("qwen3_vl", "qwen3_omni"))]
PREFIXES = ["visual.", "model.visual.", "vision_tower.", "vision_encoder."]
HEAD: tuple[str, dict[str, Any]] = ("siglip2_vision_model", {"head": True})
NORMED = [(name, {"select_layers": [1], "post_norm": "each"}) for name in ("idefics3_vision", HEAD[0])]

each_family = pytest.mark.parametrize("name", ENCODERS)
a_family_of_each_kind = pytest.mark.parametrize("name", one_of_each_kind(ENCODERS))


def selections(*several: dict[str, Any]) -> list[Any]:
    """Every family with each of several selections of its output."""
    return [
        pytest.param(*family.values, keys, marks=family.marks)
        for family in one_of_each_kind(ENCODERS)
        for keys in several
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Folders(tmp_path_factory.mktemp("checkpoints"), reference)


def config(name: str, folders: dict[str, Path] | None = None, **keys: Any) -> dict[str, Any]:
    """With weights of transformers' model, or with random ones, which takes much less time."""
    weights = {"source": str(folders[name])} if folders is not None else {}
    return {"schema": 1, "encoder": ENCODERS[name], "weights": weights, **keys}


@cache
def theirs(name: str, batch: int, *, exact: bool = False) -> Theirs:
    """What transformers makes of one of the batches of GRIDS."""
    return theirs_of(name, batch_of(name, GRIDS[batch]), exact=exact)


def run(encoder: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


# --- against transformers -----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@each_family
def test_output_equals_transformers(name: str, layers: list[int] | None, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders, select_layers=layers))
    for i, grids in enumerate(GRIDS):
        got = run(encoder, batch_of(name, grids))
        want, exact = (theirs(name, i, exact=in_float64).of(layers) for in_float64 in (False, True))
        assert_as_exact(torch.cat(got), want, exact)
        assert [len(part) for part in got] == tokens_of(name, grids, merged=layers is None)
        assert all(part.is_contiguous() for part in got)
        assert {part.shape[1] for part in got} == {encoder.plan.output_width}


@pytest.mark.parametrize(("name", "keys"), [*selections({}, {"select_layers": [-1]}), HEAD], ids=str)
def test_images_do_not_see_each_other(name: str, keys: dict[str, Any], folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders, **keys))
    batch = batch_of(name, GRIDS[1])
    together = run(encoder, batch)
    for i, part in enumerate(together):
        assert_close(part, run(encoder, alone(name, batch, i))[0])
    got = run(encoder, with_nan(name, batch, 1))
    assert_close(got[:1] + got[2:], together[:1] + together[2:])
    assert got[1].isnan().all()


@pytest.mark.parametrize("post_norm", ["last", "each"])
@pytest.mark.parametrize(
    "name", [name for name in tiny.PACKED if FAMILIES[tiny.PACKED[name]["model_type"]].post_norm]
)
def test_post_norm(name: str, post_norm: str, folders: dict[str, Path]) -> None:
    batch = batch_of(name, GRIDS[2])
    norm = tiny.post_norm(reference(name))
    states = theirs(name, 2).states
    want = [states[1], states[DEPTH]]
    with torch.no_grad():
        want = [norm(state) if post_norm == "each" or k else state for k, state in enumerate(want)]
    encoder = compose(config(name, folders, select_layers=[1, -1], post_norm=post_norm))
    assert_close(torch.cat(run(encoder, batch)), torch.cat(want, dim=-1))
    if encoder.config.encoder.merger:
        with pytest.raises(ConfigError, match="post_norm"):
            plan(config(name, folders, post_norm="none"))


@pytest.mark.parametrize("deepstack", ["concat", "separate", "none"])
@pytest.mark.parametrize("name", DEEPSTACK)
def test_deepstack_levels(name: str, deepstack: str, folders: dict[str, Path]) -> None:
    batch = batch_of(name, GRIDS[2])
    output = raw(name, batch, reference(name))
    encoder = compose(config(name, folders, deepstack=deepstack))
    levels = [output.pooler_output, *output.deepstack_features]
    if deepstack == "separate":
        assert_close(torch.cat(run(encoder, batch), dim=1), torch.stack(levels))
    else:
        used = levels if deepstack == "concat" else levels[:1]
        assert_close(torch.cat(run(encoder, batch)), torch.cat(used, dim=-1))
    names = [path for path, _ in encoder.named_parameters() if "deepstack" in path or "merger_list" in path]
    assert bool(names) == (deepstack != "none")


@a_family_of_each_kind
def test_layouts_made_in_inference_mode_are_good_for_training(name: str, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders))
    batch = batch_of(name, GRIDS[1])
    with torch.inference_mode():
        encoder(**batch)
    torch.cat([part.flatten() for part in encoder(**batch)]).sum().backward()


# --- only what is used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "keys"),
    [*selections({}, {"select_layers": [0]}, {"select_layers": [2]}), *NORMED, HEAD],
    ids=str,
)
def test_only_what_is_used_exists_and_all_of_it_trains(
    name: str, keys: dict[str, Any], folders: dict[str, Path]
) -> None:
    encoder, planned = compose(config(name, **keys)), plan(config(name, **keys))
    assert len(encoder.blocks) == max(keys.get("select_layers", [DEPTH]))
    encoder.train()
    torch.cat(encoder(**batch_of(name, GRIDS[1]))).square().sum().backward()
    for path, parameter in encoder.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
    with safe_open(folders[name] / "model.safetensors", framework="pt") as file:
        saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert planned.shapes is not None
    assert planned.shapes.items() <= saved.items()
    names = TensorNames(encoder.model, planned.shapes)
    assert {target for key in planned.shapes for target in names(key)} == encoder.model.state_dict().keys()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == planned.num_parameters


@pytest.mark.parametrize("layers", [[-2, 0], pytest.param(None, marks=pytest.mark.slow)], ids=str)
@a_family_of_each_kind
def test_saved_towers_come_back(
    name: str, layers: list[int] | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = compose(config(name, folders, select_layers=layers))
    encoder.save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(encoder.plan.shapes or ())
    again = compose(tmp_path)
    batch = batch_of(name, GRIDS[1])
    assert all(torch.equal(a, b) for a, b in zip(run(again, batch), run(encoder, batch), strict=True))
    assert again.info == encoder.info


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        pytest.param(*family.values, prefix, marks=family.marks)
        for family, prefix in zip(one_of_each_kind(tiny.PACKED), cycle(PREFIXES), strict=False)
    ],
)
def test_towers_are_found_inside_vlms(
    name: str, prefix: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(folders[name] / "model.safetensors")
    vlm = {f"{prefix}{key}": tensor for key, tensor in tensors.items()}
    save_file(vlm | {"model.embed_tokens.weight": torch.ones(3, 3)}, tmp_path / "model.safetensors")
    encoder = compose(config(name, {name: tmp_path}))
    batch = batch_of(name, GRIDS[1])
    assert_close(torch.cat(run(encoder, batch)), theirs(name, 1).output)
    del vlm[next(key for key in vlm if "1" in key and key.endswith("weight"))]
    save_file(vlm, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        compose(config(name, {name: tmp_path}))


@pytest.mark.parametrize(("name", "keys"), [*selections({}, {"select_layers": [3]}), HEAD], ids=str)
def test_flops_equal_what_torch_counts(name: str, keys: dict[str, Any]) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    encoder = compose(config(name, **keys))
    batch = encoder.preprocess([Image.new("RGB", (61, 87))])
    # The fused kernels of a CPU are not counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(**batch)
    assert encoder.plan.flops(61, 87) == counter.get_total_flops()


# --- images -------------------------------------------------------------------------------------------


@a_family_of_each_kind
def test_num_tokens_is_what_comes_out(name: str) -> None:
    keys = config(name)
    merging, patches = compose(keys), compose(keys | {"select_layers": [0]})
    planned = plan(keys)  # without the tower
    longest = 500 if name.startswith("pixtral") else 150

    @settings(max_examples=15, deadline=None)
    @given(st.integers(1, longest), st.integers(1, longest))
    def check(width: int, height: int) -> None:
        image = Image.new("RGB", (width, height))
        plans = (merging.plan, merging.info, planned)
        try:
            tokens = [made.num_tokens(width, height) for made in plans]
        except InputError:
            with pytest.raises(ImageError, match="too thin"):
                merging.encode(image)
            return
        assert tokens == [len(merging.encode(image)[0])] * 3
        assert len(patches.encode(image)[0]) == patches.plan.num_tokens(width, height)

    check()


@a_family_of_each_kind
def test_images_are_encoded_like_batches_of_the_processor(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (30, 40), (64, 64), (19, 50), (40, 30)]
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    encoder = compose(config(name, folders))
    batch = dict(encoder.preprocessor.processor(images, return_tensors="pt"))
    want = run(encoder, batch)
    got = encoder.encode(images, batch_size=3)
    assert_close(got, want)
    output, exact = (theirs_of(name, batch, exact=in_float64).output for in_float64 in (False, True))
    assert_as_exact(torch.cat(want), output, exact)
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    (folder / "9.png").write_bytes(b"broken")
    summary = encode_images(encoder, [str(folder)], tmp_path / "out.parquet", batch_size=2)
    assert (summary.num_images, summary.num_failed) == (5, 1)
    assert summary.num_tokens == sum(len(part) for part in want)
    written = [torch.as_tensor(features) for _, features in read_features(tmp_path / "out.parquet")]
    assert_close(written, want)


def test_a_checkpoints_own_resize_rule_is_used(tmp_path: Path) -> None:
    for name, values, size in (
        ("qwen2_vl_vision", {"min_pixels": 64, "max_pixels": 1024, "patch_size": 99}, (32, 32)),
        ("qwen3_vl_vision", {"size": {"shortest_edge": 64, "longest_edge": 1024}}, (32, 32)),
        ("pixtral", {"size": {"longest_edge": 40}, "patch_size": 8, "do_resize": False}, (40, 40)),
    ):
        folder = tmp_path / name
        tiny.save(reference(name), folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(values))
        encoder = compose(config(name, {name: folder}))
        assert encoder.info.resize is not None
        assert encoder.info.resize(500, 500) == size
        assert len(encoder.encode(Image.new("RGB", (500, 500)))[0]) == encoder.plan.num_tokens(500, 500)
        encoder.save(tmp_path / "saved" / name)
        assert compose(tmp_path / "saved" / name).info == encoder.info
