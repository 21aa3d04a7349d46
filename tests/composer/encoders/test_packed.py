"""Every packed family against transformers itself, and the laws of packing."""

from __future__ import annotations

import copy
import json
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import tiny
from support.compare import assert_as_exact, assert_close
from transformers.vision_utils import get_vision_window_index

from vision_composer import compose, plan
from vision_composer.encoders import FAMILIES, get_vision_encoder_info
from vision_composer.errors import ConfigError, ImageError, InputError, WeightsError
from vision_composer.jobs import encode_images
from vision_composer.schemas import encoder_config

DEPTH = 4
LAYERS = [None, [0], [-1, -3], [4, 0, 0]]
NAMES = list(tiny.PACKED)
# Frames, rows and columns in merged tokens: one row, one column, sizes that windows do not divide, clips.
GRIDS = [
    [(1, 1, 1)],
    [(1, 2, 3), (1, 5, 7), (1, 1, 4), (1, 2, 3)],
    [(3, 2, 2), (1, 7, 1), (4, 1, 5)],
    [(1, 1, k) for k in range(1, 9)],
]

each_family = pytest.mark.parametrize("name", NAMES)


@cache
def reference(name: str) -> Any:
    """transformers' model of a tiny encoder; the tests only read it."""
    return tiny.reference(tiny.PACKED[name])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: tiny.save(reference(name), root / name.replace("/", "-")) for name in NAMES}


def config(name: str, folders: dict[str, Path] | None = None, **keys: Any) -> dict[str, Any]:
    """With weights of transformers' model, or with random ones, which takes much less time."""
    weights = {"source": str(folders[name])} if folders else {}
    return {"schema": 1, "encoder": tiny.PACKED[name], "weights": weights, **keys}


def is_pixtral(name: str) -> bool:
    return name.startswith("pixtral")


def inputs(name: str, merged_grids: list[tuple[int, int, int]], *, seed: int = 1) -> dict[str, torch.Tensor]:
    """A random batch; Pixtral knows no clips and gets one frame."""
    info = get_vision_encoder_info(encoder_config(tiny.PACKED[name]))
    generator = torch.Generator().manual_seed(seed)
    if is_pixtral(name):
        sizes = torch.tensor([(h * info.patch_size, w * info.patch_size) for _, h, w in merged_grids])
        height, width = sizes.amax(0).tolist()
        pixels = torch.randn(len(sizes), 3, height, width, generator=generator)
        return {"pixel_values": pixels, "image_sizes": sizes}
    m = info.grid_multiple
    grids = torch.tensor([(t, h * m, w * m) for t, h, w in merged_grids])
    patch = (3 * info.temporal_patch_size * info.patch_size**2,)
    if name.startswith("kimi"):
        patch = (3, info.patch_size, info.patch_size)
    pixels = torch.randn(int(grids.prod(1).sum()), *patch, generator=generator)
    return {"pixel_values": pixels, "image_grid_thw": grids}


@cache
def exact_reference(name: str) -> Any:
    """The same in float64."""
    return copy.deepcopy(reference(name)).double()


def raw(name: str, batch: dict[str, torch.Tensor], model: Any = None) -> Any:
    """transformers' own output with hidden states."""
    model = model or reference(name)
    batch = batch | {"pixel_values": batch["pixel_values"].to(model.dtype)}
    with torch.no_grad():
        if is_pixtral(name):
            return model(**batch, output_hidden_states=True)
        grids = batch["image_grid_thw"]
        if name.startswith("glm4v"):  # takes a clip as its frames
            grids = torch.tensor([(1, h, w) for t, h, w in grids.tolist() for _ in range(t)])
        return model(batch["pixel_values"], grid_thw=grids, output_hidden_states=True)


def hidden_states(name: str, batch: dict[str, torch.Tensor], model: Any = None) -> list[torch.Tensor]:
    """transformers' hidden states as (tokens, width), patches in the order of the input."""
    last: list[torch.Tensor] = []  # some classes put their normed or merged output in its place
    model = model or reference(name)
    block = FAMILIES[tiny.PACKED[name]["model_type"]].block_list(model)[-1]
    handle = block.register_forward_hook(lambda module, inputs, output: last.append(output))
    states = [
        state.view(-1, state.shape[-1]) for state in (*raw(name, batch, model).hidden_states[:-1], last[0])
    ]
    handle.remove()
    if name.startswith("qwen2_5"):
        fields = model.config
        index, _ = get_vision_window_index(
            batch["image_grid_thw"], fields.spatial_merge_size, fields.window_size, fields.patch_size
        )
        square = fields.spatial_merge_size**2
        states = [s.view(-1, square, s.shape[-1])[torch.argsort(index)].view(s.shape) for s in states]
    return states


def merged(name: str, batch: dict[str, torch.Tensor], model: Any = None) -> torch.Tensor:
    """transformers' own output of the tower, DeepStack levels behind it."""
    output = raw(name, batch, model)
    if name.startswith(("pixtral", "minimax")):
        return output.last_hidden_state[0]
    if name.startswith("kimi"):
        return output.pooler_output.flatten(1)
    return torch.cat([output.pooler_output, *getattr(output, "deepstack_features", [])], dim=-1)


def output_of(
    name: str, batch: dict[str, torch.Tensor], layers: list[int] | None, model: Any = None
) -> torch.Tensor:
    """transformers' own output, or some hidden states side by side."""
    if layers is None:
        return merged(name, batch, model)
    states = hidden_states(name, batch, model)
    return torch.cat([states[k] for k in layers], dim=-1)


def run(encoder: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


# --- against transformers -----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@each_family
def test_output_equals_transformers(name: str, layers: list[int] | None, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders, select_layers=layers))
    for grids in GRIDS:
        batch = inputs(name, grids)
        got = run(encoder, batch)
        want, exact = (output_of(name, batch, layers, made) for made in (None, exact_reference(name)))
        assert_as_exact(torch.cat(got), want, exact)
        square = 1 if layers is None and not name.startswith("minimax") else encoder.info.grid_multiple**2
        one_frame = is_pixtral(name) or (name.startswith("kimi") and layers is None)
        assert [len(part) for part in got] == [(1 if one_frame else t) * h * w * square for t, h, w in grids]
        assert all(part.is_contiguous() for part in got)
        assert {part.shape[1] for part in got} == {encoder.plan.output_width}


@each_family
def test_images_do_not_see_each_other(name: str, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders))
    batch = inputs(name, GRIDS[1])
    together = run(encoder, batch)
    start = 0
    for i, part in enumerate(together):
        if is_pixtral(name):
            height, width = batch["image_sizes"][i].tolist()
            alone = {"pixel_values": batch["pixel_values"][i : i + 1, :, :height, :width]}
        else:
            grid = batch["image_grid_thw"][i : i + 1]
            count = int(grid.prod())
            alone = {"pixel_values": batch["pixel_values"][start : start + count], "image_grid_thw": grid}
            start += count
        assert_close(part, run(encoder, alone)[0])


@each_family
def test_nan_stays_in_its_image(name: str, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders))
    batch = inputs(name, [(1, 2, 3), (1, 2, 3), (1, 5, 7)])
    clean = run(encoder, batch)
    pixels = batch["pixel_values"].clone()
    if is_pixtral(name):
        pixels[1] = torch.nan
        pixels[0, :, 16:] = torch.nan  # padding
    else:
        patches = batch["image_grid_thw"].prod(1).tolist()
        pixels[patches[0] :][: patches[1]] = torch.nan
    dirty = run(encoder, batch | {"pixel_values": pixels})
    assert_close(dirty[0], clean[0])
    assert_close(dirty[2], clean[2])
    assert dirty[1].isnan().all()


@pytest.mark.parametrize("post_norm", ["last", "each"])
@pytest.mark.parametrize(
    "name", [name for name in NAMES if FAMILIES[tiny.PACKED[name]["model_type"]].post_norm]
)
def test_post_norm(name: str, post_norm: str, folders: dict[str, Path]) -> None:
    batch = inputs(name, GRIDS[2])
    norm = tiny.post_norm(reference(name))
    states = hidden_states(name, batch)
    want = [states[1], states[DEPTH]]
    with torch.no_grad():
        want = [norm(state) if post_norm == "each" or k else state for k, state in enumerate(want)]
    encoder = compose(config(name, folders, select_layers=[1, -1], post_norm=post_norm))
    assert_close(torch.cat(run(encoder, batch)), torch.cat(want, dim=-1))
    if encoder.config.encoder.merger:
        with pytest.raises(ConfigError, match="post_norm"):
            plan(config(name, folders, post_norm="none"))


@pytest.mark.parametrize("deepstack", ["concat", "separate", "none"])
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("qwen3_vl")])
def test_deepstack_levels(name: str, deepstack: str, folders: dict[str, Path]) -> None:
    batch = inputs(name, GRIDS[2])
    output = raw(name, batch)
    encoder = compose(config(name, folders, deepstack=deepstack))
    levels = [output.pooler_output, *output.deepstack_features]
    if deepstack == "separate":
        assert_close(torch.cat(run(encoder, batch), dim=1), torch.stack(levels))
    else:
        used = levels if deepstack == "concat" else levels[:1]
        assert_close(torch.cat(run(encoder, batch)), torch.cat(used, dim=-1))
    names = [parameter for parameter, _ in encoder.named_parameters() if "deepstack" in parameter]
    assert bool(names) == (deepstack != "none")


@each_family
def test_layouts_made_in_inference_mode_are_good_for_training(name: str, folders: dict[str, Path]) -> None:
    encoder = compose(config(name, folders))
    batch = inputs(name, GRIDS[1])
    with torch.inference_mode():
        encoder(**batch)
    torch.cat([part.flatten() for part in encoder(**batch)]).sum().backward()


# --- only what is used --------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [[0], [2], None], ids=str)
@each_family
def test_only_what_is_used_exists_and_all_of_it_trains(
    name: str, layers: list[int] | None, folders: dict[str, Path]
) -> None:
    keys = config(name, select_layers=layers)
    encoder = compose(keys)
    assert len(encoder.blocks) == (DEPTH if layers is None else max(layers))
    encoder.train()
    sum(part.square().sum() for part in encoder(**inputs(name, GRIDS[1]))).backward()  # type: ignore[union-attr]
    assert [path for path, parameter in encoder.named_parameters() if parameter.grad is None] == []
    planned = plan(keys)
    with safe_open(folders[name] / "model.safetensors", framework="pt") as file:
        saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert planned.shapes is not None
    assert planned.shapes.items() <= saved.items()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == planned.num_parameters


@pytest.mark.parametrize("layers", [[-2, 0], None], ids=str)
@each_family
def test_saved_towers_come_back(
    name: str, layers: list[int] | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = compose(config(name, folders, select_layers=layers))
    encoder.save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(encoder.plan.shapes or ())
    again = compose(tmp_path)
    batch = inputs(name, GRIDS[1])
    assert all(torch.equal(a, b) for a, b in zip(run(again, batch), run(encoder, batch), strict=True))


@pytest.mark.parametrize(
    ("name", "prefix"),
    list(zip(NAMES, cycle(["visual.", "model.visual.", "vision_tower.", "vision_encoder."]), strict=False)),
)
def test_towers_are_found_inside_vlms(
    name: str, prefix: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(folders[name] / "model.safetensors")
    vlm = {f"{prefix}{key}": tensor for key, tensor in tensors.items()}
    save_file(vlm | {"model.embed_tokens.weight": torch.ones(3, 3)}, tmp_path / "model.safetensors")
    encoder = compose(config(name, {name: tmp_path}))
    batch = inputs(name, GRIDS[1])
    assert_close(torch.cat(run(encoder, batch)), merged(name, batch))
    del vlm[next(key for key in vlm if "1" in key and key.endswith("weight"))]
    save_file(vlm, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        compose(config(name, {name: tmp_path}))


@each_family
def test_flops_equal_what_torch_counts(name: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for keys in ({}, {"select_layers": [3]}):
        encoder = compose(config(name, **keys))
        batch = encoder.preprocess([Image.new("RGB", (61, 87))])
        # The fused kernels of a CPU are not counted.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            encoder(**batch)
        assert encoder.plan.flops(61, 87) == counter.get_total_flops()


# --- images -------------------------------------------------------------------------------------------


@each_family
def test_num_tokens_is_what_comes_out(name: str) -> None:
    keys = {"schema": 1, "encoder": tiny.PACKED[name]}
    merging, patches = compose(keys), compose(keys | {"select_layers": [0]})
    planned = plan(keys)  # without the tower
    longest = 500 if is_pixtral(name) else 120

    large = name.startswith("qwen3")  # whose processor makes no image smaller than 256 x 256

    @settings(max_examples=3 if large else 15, deadline=None)
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


@each_family
def test_images_are_encoded_like_batches_of_the_processor(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (30, 40), (64, 64), (9, 50), (40, 30)]
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    encoder = compose(config(name, folders))
    batch = dict(encoder.preprocessor.processor(images, return_tensors="pt"))
    want = run(encoder, batch)
    got = encoder.encode(images, batch_size=3)
    assert_close(got, want)
    assert_as_exact(torch.cat(want), merged(name, batch), merged(name, batch, exact_reference(name)))
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    (folder / "9.png").write_bytes(b"broken")
    summary = encode_images(encoder, [str(folder)], tmp_path / "out.parquet", batch_size=2)
    assert (summary.num_images, summary.num_failed) == (5, 1)
    assert summary.num_tokens == sum(len(part) for part in want)
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    written = [torch.tensor(row["features"]).view(row["num_tokens"], row["width"]) for row in table]
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
