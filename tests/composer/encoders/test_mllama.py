"""Mllama against transformers itself: tiles, padding, both stacks, and what the image processor makes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from support import tiny
from support.checkpoints import Folders
from support.compare import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from vision_composer import compose, plan
from vision_composer.config_json import tower_of_config_json
from vision_composer.encoders import get_vision_encoder_info
from vision_composer.errors import BackendError, ConfigError, InputError
from vision_composer.images.resize import TileCanvas
from vision_composer.schemas import encoder_config
from vision_composer.tower.module import run_block

DEPTH = 4
LAYERS = [None, [-2], [0], [-1], [3, 1], [4, 0, 0]]
NAMES = list(tiny.TILED)

each_encoder = pytest.mark.parametrize("name", NAMES)


@cache
def reference(name: str) -> Any:
    """transformers' model of a tiny encoder; the tests only read it."""
    return tiny.reference(tiny.TILED[name])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Folders(tmp_path_factory.mktemp("checkpoints"), reference)


def config(name: str, folders: dict[str, Path] | None = None, **keys: Any) -> dict[str, Any]:
    """With weights of transformers' model, or with random ones, which takes much less time."""
    weights = {"source": str(folders[name])} if folders is not None else {}
    return {"schema": 1, "encoder": tiny.TILED[name], "weights": weights, **keys}


def inputs(name: str, *, seed: int = 1) -> dict[str, Any]:
    """Two rows of two images, the last of them padding."""
    encoder = encoder_config(tiny.TILED[name])
    generator = torch.Generator().manual_seed(seed)
    most, side = encoder.max_num_tiles, encoder.image_size
    ratios = encoder.aspect_ratios
    ids = torch.randint(1, len(ratios) + 1, (2, 2), generator=generator)
    ids[1, 1] = 0
    counts = torch.tensor(
        [[1 if i == 0 else ratios[i - 1][0] * ratios[i - 1][1] for i in row] for row in ids]
    )
    pixels = torch.randn(2, 2, most, encoder.num_channels, side, side, generator=generator)
    mask = (torch.arange(most) < counts[..., None]).long()
    return {"pixel_values": pixels, "aspect_ratio_ids": ids, "aspect_ratio_mask": mask}


def apart(states: torch.Tensor, batch: dict[str, Any]) -> list[torch.Tensor]:
    """(2, 2, tiles, tokens, width) -> the tokens of each image's own tiles."""
    return [
        states[row, image][batch["aspect_ratio_mask"][row, image].bool()].flatten(0, 1)
        for row in range(2)
        for image in range(2)
        if batch["aspect_ratio_ids"][row, image]
    ]


def hidden_states(name: str, batch: dict[str, Any]) -> list[torch.Tensor]:
    """Hidden states 0 to N of transformers' first stack, (2, 2, tiles, tokens, width)."""
    model = reference(name)
    states: list[torch.Tensor] = []

    def first(module: Any, args: Any) -> None:
        states.append(args[0])

    def each(module: Any, args: Any, output: torch.Tensor) -> None:
        states.append(output)

    blocks = model.transformer.layers
    hooks = [blocks[0].input_layernorm.register_forward_pre_hook(first)]
    hooks += [block.register_forward_hook(each) for block in blocks]
    with torch.no_grad():
        model(**batch)
    for hook in hooks:
        hook.remove()
    most = model.config.max_num_tiles
    return [s.view(2, 2, most, -1, s.shape[-1])[..., : model.num_patches, :] for s in states]


def run(encoder: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


@pytest.mark.parametrize("policy", ["auto", "none", "last", "each"])
@pytest.mark.parametrize("layers", LAYERS, ids=str)
@each_encoder
def test_output_equals_transformers(name: str, layers: list[int] | None, policy: str) -> None:
    batch = inputs(name)
    keys = config(name, select_layers=layers, post_norm=policy)
    if layers is None and policy == "none":
        with pytest.raises(ConfigError, match="takes the normed last hidden state"):
            plan(keys)
        return
    encoder = tiny.with_weights_of(reference(name), compose(keys))
    got = run(encoder, batch)
    if layers is None:
        with torch.no_grad():
            want = reference(name)(**batch).last_hidden_state
    else:
        states = hidden_states(name, batch)
        picked = []
        for layer in layers:
            index = layer if layer >= 0 else DEPTH + 1 + layer
            normed = policy == "each" or (policy == "last" and index == DEPTH)
            with torch.no_grad():
                picked.append(reference(name).layernorm_post(states[index]) if normed else states[index])
        want = torch.cat(picked, dim=-1)
    assert_close(got, apart(want, batch))
    assert all(part.is_contiguous() for part in got)
    assert {part.shape[1] for part in got} == {encoder.plan.output_width}


@each_encoder
def test_the_blocks_of_both_stacks_are_run_in_one_way(name: str) -> None:
    encoder = compose(config(name))
    ran: list[Any] = []

    def run_and_note(block: Any, hidden_states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        ran.append(block)
        return run_block(block, hidden_states, **inputs)

    encoder.tower.run_block = run_and_note
    run(encoder, inputs(name))
    assert ran == [*encoder.blocks, *encoder.model.global_transformer.layers]


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [None, [-2]], ids=str)
def test_backends_agree(backend: str, layers: list[int] | None, folders: dict[str, Path]) -> None:
    name, batch = NAMES[0], inputs(NAMES[0])
    encoder = compose(config(name, folders, select_layers=layers, attn_backend=backend))
    assert_close(run(encoder, batch), list(run(compose(config(name, folders, select_layers=layers)), batch)))
    assert encoder.attention.backend.value == backend


def test_backends_that_take_no_mask_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(BackendError, match="runs on sdpa and eager only"):
        compose(config(NAMES[0], folders, attn_backend="flash_attention_2"))


@pytest.mark.parametrize("layers", [None, [2, 3]], ids=str)
@each_encoder
def test_strategies_work_tile_by_tile(name: str, layers: list[int] | None, folders: dict[str, Path]) -> None:
    batch = inputs(name)
    full = run(compose(config(name, folders, select_layers=layers)), batch)
    tokens = reference(name).num_patches
    for strategy, keep in {"class": slice(0, 1), "default": slice(1, None)}.items():
        encoder = compose(config(name, folders, select_layers=layers, feature_select_strategy=strategy))
        got = run(encoder, batch)
        want = [part.view(-1, tokens, part.shape[-1])[:, keep].flatten(0, 1) for part in full]
        assert_close(got, want)
        side = encoder.info.image_size
        assert encoder.plan.num_tokens(side, side) == (1 if strategy == "class" else tokens - 1)


@pytest.mark.parametrize("layers", [None, [-2]], ids=str)
def test_images_do_not_see_each_other(layers: list[int] | None, folders: dict[str, Path]) -> None:
    encoder = compose(config(NAMES[0], folders, select_layers=layers))
    batch = inputs(NAMES[0])
    clean = run(encoder, batch)
    assert_close(run(encoder, {key: value[1:, :1] for key, value in batch.items()}), [clean[2]])
    pixels = batch["pixel_values"].clone()
    pixels[0, 1] = torch.nan  # one image
    pixels[1, 1] = torch.nan  # padding of the batch
    dirty = run(encoder, batch | {"pixel_values": pixels})
    assert_close((dirty[0], dirty[2]), [clean[0], clean[2]])
    assert dirty[1].isnan().all()


def test_padding_tiles_count_as_in_transformers(folders: dict[str, Path]) -> None:
    name = NAMES[0]
    batch = inputs(name)
    batch["aspect_ratio_ids"][0, 0], batch["aspect_ratio_mask"][0, 0] = 1, torch.tensor([1, 0, 0, 0])
    encoder = compose(config(name, folders))
    clean = run(encoder, batch)
    changed = batch["pixel_values"].clone()
    changed[0, 0, 1:] += 1
    got = run(encoder, batch | {"pixel_values": changed})
    assert (got[0] - clean[0]).abs().max() > 1e-3
    with torch.no_grad():
        want = reference(name)(**batch | {"pixel_values": changed}).last_hidden_state
    assert_close(got, apart(want, batch))


@each_encoder
def test_a_batch_of_padding_is_no_output(name: str, folders: dict[str, Path]) -> None:
    encoder, batch = compose(config(name, folders)), inputs(name)
    assert run(encoder, batch | {"aspect_ratio_ids": torch.zeros(2, 2, dtype=torch.long)}) == ()
    assert run(encoder, batch | {"aspect_ratio_mask": torch.zeros_like(batch["aspect_ratio_mask"])}) == ()
    assert run(encoder, {key: value[:0] for key, value in batch.items()}) == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pixel_values": None}, "pixel_values must be a tensor, not NoneType"),
        ({"pixel_values": torch.zeros(2, 2, 4, 3, 16, 16, dtype=torch.uint8)}, "must be normalised floats"),
        ({"pixel_values": torch.zeros(2, 2, 3, 3, 16, 16)}, r"the last four \(4, 3, 16, 16\)"),
        ({"pixel_values": torch.zeros(4, 3, 16, 16)}, r"the last four \(4, 3, 16, 16\)"),
        ({"aspect_ratio_ids": torch.full((2, 2), 9)}, "whole numbers from 0 to 8"),
        ({"aspect_ratio_ids": torch.full((2, 2), -1)}, "whole numbers from 0 to 8"),
        ({"aspect_ratio_ids": torch.full((2, 2), torch.nan)}, "float32; it must be integers"),
        ({"aspect_ratio_ids": torch.ones(2)}, "aspect_ratio_ids is torch.float32"),
        ({"aspect_ratio_mask": torch.full((2, 2, 4), 0.5)}, "must be booleans or integers"),
        (
            {"aspect_ratio_ids": torch.ones(2).long()},
            r"aspect_ratio_ids must be \(2, 2\) to fit pixel_values, not \(2,\)",
        ),
        ({"aspect_ratio_mask": None}, "aspect_ratio_mask must be a tensor"),
        ({"image_grid_thw": torch.ones(1, 3)}, "unexpected input image_grid_thw"),
    ],
)
def test_inputs_it_cannot_take(changed: dict[str, Any], message: str, folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=message):
        run(compose(config(NAMES[0], folders)), inputs(NAMES[0]) | changed)


# --- only what is used --------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["auto", "last"])
@pytest.mark.parametrize("layers", [[0], [2], [-1], None], ids=str)
@each_encoder
def test_only_what_is_used_exists_and_all_of_it_trains(
    name: str, layers: list[int] | None, policy: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    keys = config(name, select_layers=layers, post_norm=policy)
    encoder, planned = compose(keys), plan(keys)
    assert len(encoder.blocks) == (DEPTH if layers is None else max(layer % (DEPTH + 1) for layer in layers))
    assert (encoder.model.global_transformer is None) == (layers is not None)
    encoder.train()
    torch.cat(encoder(**inputs(name))).square().sum().backward()
    assert [path for path, parameter in encoder.named_parameters() if parameter.grad is None] == []
    with safe_open(folders[name] / "model.safetensors", framework="pt") as file:
        saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert planned.shapes is not None
    assert planned.shapes.items() <= saved.items()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == planned.num_parameters

    encoder.eval().save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(planned.shapes)
    again, batch = compose(tmp_path), inputs(name)
    assert all(torch.equal(a, b) for a, b in zip(run(again, batch), run(encoder, batch), strict=True))


@pytest.mark.parametrize("layers", [[3], None], ids=str)
@each_encoder
def test_flops_equal_what_torch_counts(name: str, layers: list[int] | None) -> None:
    encoder = compose(config(name, select_layers=layers, attn_backend="eager"))
    batch = {key: value[:1, :1] for key, value in inputs(name).items()}
    batch["aspect_ratio_ids"][:] = 1
    side = encoder.info.image_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(**batch)
    assert encoder.plan.flops(side, side) == counter.get_total_flops()


@pytest.mark.parametrize("block", [4, -5])
def test_joined_blocks_that_are_not_there(block: int) -> None:
    encoder = {**tiny.TILED[NAMES[0]], "intermediate_layers_indices": [block]}
    message = rf"intermediate_layers_indices: \[{block}\] must name blocks from -4 to 3"
    with pytest.raises(ConfigError, match=message):
        plan({"schema": 1, "encoder": encoder})
    assert plan({"schema": 1, "encoder": encoder, "select_layers": [-1]}).num_blocks == 4


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"max_num_tiles": 3}, "max_num_tiles"),
        ({"supported_aspect_ratios": [[1, 5]]}, "supported_aspect_ratios"),
        ({"supported_aspect_ratios": [[1, 1, 1]]}, "supported_aspect_ratios"),
        ({"intermediate_layers_indices": []}, "intermediate_layers_indices"),
        ({"attention_heads": 5}, "attention_heads"),
        ({"patch_size": 17}, "patch_size"),
    ],
)
def test_rules(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"encoder\.{key}"):
        plan({"schema": 1, "encoder": {**tiny.TILED[NAMES[0]], **fields}})


@each_encoder
def test_info_from_a_transformers_config(name: str) -> None:
    info = get_vision_encoder_info(reference(name).config)
    assert info == get_vision_encoder_info(encoder_config(tiny.TILED[name]))


# --- images -------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 12), st.integers(1, 600))
def test_canvas_is_that_of_the_image_processor(width: int, height: int, most: int, side: int) -> None:
    from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas

    theirs = get_optimal_tiled_canvas(height, width, most, side)
    assert TileCanvas(side, most)(width, height) == (theirs[1], theirs[0])


@pytest.mark.parametrize("layers", [None, [-2]], ids=str)
def test_encode_is_the_processor_and_the_tower(layers: list[int] | None, folders: dict[str, Path]) -> None:
    encoder = compose(config(NAMES[0], folders, select_layers=layers))
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (16, 16), (40, 10), (10, 90), (33, 31), (500, 3)]
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    processor = transformers.MllamaImageProcessorPil(
        size={"height": 16, "width": 16}, image_mean=OPENAI_CLIP_MEAN, image_std=OPENAI_CLIP_STD
    )
    direct = processor([[image] for image in images], return_tensors="pt")
    features = encoder.encode(images, batch_size=4)
    assert_close(features, run(encoder, dict(direct)))
    assert [len(part) for part in features] == [encoder.plan.num_tokens(*size) for size in sizes]


def test_a_vlms_folder_gives_the_tower_that_the_vlm_reads(tmp_path: Path) -> None:
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 64,
        "cross_attention_layers": [1],
        "pad_token_id": 0,
    }
    vision = tiny.TILED[NAMES[0]] | {"vision_output_dim": 96}
    torch.manual_seed(0)
    vlm = tiny.scramble(
        transformers.MllamaForConditionalGeneration(
            transformers.MllamaConfig(vision_config=vision, text_config=text, image_token_index=63)
        )
    )
    vlm.save_pretrained(tmp_path)
    encoder, batch = compose(tower_of_config_json(str(tmp_path))), inputs(NAMES[0])
    with torch.no_grad():
        want = vlm.model.vision_model(**batch).last_hidden_state
    assert_close(run(encoder, batch), apart(want, batch))
