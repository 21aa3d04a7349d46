"""Which image processor and which values count: those of the config, the checkpoint or the class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import try_to_load_from_cache
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.processors import resolved

from vision_composer import compose, load_config, plan
from vision_composer.errors import ConfigError, ImageError, InputError, WeightsError
from vision_composer.images.hub_cache import folder_at_hand

ENCODERS = tiny.ALL
COLOUR = {name: encoder for name, encoder in ENCODERS.items() if encoder.get("num_channels", 3) == 3}
SQUARE = {"size": 40, "crop_size": 40}
CLIP = tiny.ENCODERS["clip_vision_model"]


def written(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder


# --- who wins -----------------------------------------------------------------------------------------


def test_the_config_wins_then_the_checkpoint_then_the_class(tmp_path: Path) -> None:
    written(tmp_path, {"image_processor_type": "LlavaImageProcessorFast", "do_pad": True, "resample": 2})
    made = resolved("CLIPImageProcessor", tmp_path, {"resample": "lanczos", "size": 48}, size=7)
    assert made.type == "LlavaImageProcessor"
    assert made.values["size"] == {"shortest_edge": 48}
    assert made.values["crop_size"] == {"height": 48, "width": 48}
    assert (made.values["resample"], made.values["do_pad"]) == (1, True)
    wanted = {"type": "preprocessor_config.json", "do_pad": "preprocessor_config.json", "do_resize": "class"}
    assert made.origin | wanted | {"resample": "config", "size": "config"} == made.origin


def test_without_a_checkpoint_images_fit_the_encoder(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        made = resolved("CLIPImageProcessor", folder, size={"shortest_edge": 20})
        assert (made.values["size"], made.origin["size"]) == ({"shortest_edge": 20}, "encoder")
        made = resolved("CLIPImageProcessor", folder, {"type": "SiglipImageProcessor"}, size=20)
        assert (made.values["size"], made.origin["size"]) == ({"height": 32, "width": 32}, "encoder")


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ({"size": {"height": 20, "width": 30}}, {"size": {"height": 20, "width": 30}}),
        ({"mean": [0.1], "std": [0.5]}, {"image_mean": [0.1], "image_std": [0.5]}),
        ({"crop": False}, {"do_center_crop": False}),
        ({"crop": True}, {"do_center_crop": True}),
        ({"crop": 20}, {"do_center_crop": True, "crop_size": {"height": 20, "width": 20}}),
        ({"crop": {"height": 9, "width": 8}}, {"crop_size": {"height": 9, "width": 8}}),
        ({"type": "LlavaImageProcessor", "pad": True}, {"do_pad": True}),
    ],
)
def test_keys_become_arguments(block: dict[str, Any], values: dict[str, Any]) -> None:
    made = resolved("CLIPImageProcessor", None, block)
    assert {key: made.values[key] for key in values} == values
    assert {made.origin[key] for key in values} == {"config"}


@pytest.mark.parametrize(
    ("own", "block", "values"),
    [
        ("Qwen2VL", {"max_pixels": 5000}, {"size": {"shortest_edge": 3136, "longest_edge": 5000}}),
        ("Kimi_K25", {"max_pixels": 14 * 14 * 9 + 1}, {"max_patches": 9}),
        ("Siglip2", {"max_pixels": 16 * 16 * 100}, {"max_num_patches": 100}),
        ("Lfm2Vl", {"min_pixels": 1024, "max_pixels": 9216}, {"min_image_tokens": 1, "max_image_tokens": 9}),
        ("Gemma4", {"max_pixels": 48 * 48 * 300}, {"max_soft_tokens": 280}),
        ("Pixtral", {"patch_size": 28}, {"patch_size": {"height": 28, "width": 28}}),
        ("Idefics3", {"size": 50}, {"size": {"longest_edge": 200}, "max_image_size": {"longest_edge": 50}}),
    ],
)
def test_areas_and_sizes_in_the_units_of_a_class(
    own: str, block: dict[str, Any], values: dict[str, Any]
) -> None:
    made = resolved(f"{own}ImageProcessor", None, block)
    assert {key: made.values[key] for key in values} == values


@pytest.mark.parametrize(
    "saved",
    [
        {"min_pixels": 100, "max_pixels": 900},
        {"size": {"shortest_edge": 100, "longest_edge": 900}},
        {"size": {"min_pixels": 100, "max_pixels": 900}, "min_pixels": 100, "max_pixels": 900},
        {"size": None, "min_pixels": 100, "max_pixels": 900},
    ],
)
def test_qwens_bounds_in_every_spelling(saved: dict[str, Any], tmp_path: Path) -> None:
    made = resolved("Qwen2VLImageProcessor", written(tmp_path, saved))
    assert made.values["size"] == {"shortest_edge": 100, "longest_edge": 900}


def test_minimaxs_size_that_was_never_used(tmp_path: Path) -> None:
    made = resolved("MiniMaxM3VLImageProcessor", written(tmp_path, {"size": [672, 672]}))
    assert made.values["size"] == {"shortest_edge": 4 * 28 * 28, "longest_edge": 451584}


def test_pixtrals_processor_sets_what_sides_are_rounded_to(tmp_path: Path) -> None:
    written(tmp_path, {"patch_size": 14, "size": {"longest_edge": 1540}})
    assert resolved("PixtralImageProcessor", tmp_path).values["patch_size"]["height"] == 14
    processor = {"processor_class": "PixtralProcessor", "patch_size": 14, "spatial_merge_size": 2}
    written(tmp_path, processor, "processor_config.json")
    made = resolved("PixtralImageProcessor", tmp_path)
    assert made.values["patch_size"] == {"height": 28, "width": 28}
    assert made.origin["patch_size"] == "processor_config.json"
    assert resolved("PixtralImageProcessor", tmp_path, {"patch_size": 42}).values["patch_size"]["width"] == 42


# --- what is refused ----------------------------------------------------------------------------------


def test_a_class_that_is_not_known_or_makes_other_inputs(tmp_path: Path) -> None:
    for name, reason in (("MolmoImageProcessor", "is not known"), ("PixtralImageProcessor", "does not make")):
        written(tmp_path, {"image_processor_type": name})
        message = rf"preprocessor_config\.json: .*{name}'? {reason}.*set image_processor\.type"
        with pytest.raises(WeightsError, match=message):
            resolved("CLIPImageProcessor", tmp_path)
        assert resolved("CLIPImageProcessor", tmp_path, {"type": "BitImageProcessor"}).type[:3] == "Bit"
    with pytest.raises(ConfigError, match=r"image_processor\.type: PixtralImageProcessor does not make"):
        resolved("CLIPImageProcessor", None, {"type": "PixtralImageProcessor"})


def test_a_key_that_the_checkpoints_class_does_not_know(tmp_path: Path) -> None:
    written(tmp_path, {"image_processor_type": "GotOcr2ImageProcessor"})
    message = r"image_processor\.crop: GotOcr2ImageProcessor does not know it; it takes size, resample, mean"
    with pytest.raises(ConfigError, match=message):
        resolved("CLIPImageProcessor", tmp_path, {"crop": False})


def test_values_that_do_not_work(tmp_path: Path) -> None:
    for values in ({"size": {"longest_edge": 9}}, {"size": {"height": True, "width": 2}}, {"crop_size": {}}):
        with pytest.raises(WeightsError, match=r"preprocessor_config\.json: not a usable"):
            resolved("CLIPImageProcessor", written(tmp_path, values))
    with pytest.raises(ConfigError, match=r"image_processor\.size: one number means nothing"):
        resolved("Qwen2VLImageProcessor", None, {"size": 40})
    with pytest.raises(ConfigError, match="VC212"):
        resolved("AriaImageProcessor", None, {"size": 500})
    with pytest.raises(ConfigError, match=r"image_processor\.max_pixels: must be at least 256"):
        resolved("Siglip2ImageProcessor", None, {"max_pixels": 255})


# --- plans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_the_plan_is_that_of_the_composed_encoder(name: str, tmp_path: Path) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS[name]})
    config = load_config({"schema": 1, "encoder": ENCODERS[name]})
    assert plan(config) == encoder.plan
    encoder.save(tmp_path)
    saved = compose(tmp_path)
    assert plan(tmp_path) == saved.plan
    assert saved.info == encoder.info
    assert saved.plan.processor.values == encoder.plan.processor.values
    assert saved.plan.processor.origin["type"] == "preprocessor_config.json"


@pytest.mark.parametrize("name", COLOUR)
def test_an_image_gives_as_many_tokens_as_planned(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": COLOUR[name], "select_layers": [0]})

    @trials(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, 160), st.integers(1, 160))
    def check(width: int, height: int) -> None:
        image = Image.new("RGB", (width, height))
        try:
            tokens = encoder.num_tokens(width, height)
        except InputError:
            with pytest.raises((ImageError, InputError)):
                encoder.image_grids(encoder.preprocess([image]))
            return
        grids = encoder.image_grids(encoder.preprocess([image]))
        assert encoder.tower.rows_per_image(grids) == [tokens]

    check()
    assert len(encoder.encode(Image.new("RGB", (61, 45)))[0]) == encoder.num_tokens(61, 45)


def test_another_json_changes_the_plan_and_the_pixels(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8))
    for name, values, tokens in (
        ("qwen2_vl_vision", {"min_pixels": 64, "max_pixels": 4096}, 240),
        ("dinov2", {"size": {"shortest_edge": 40}, "do_center_crop": False}, 5 * 8 + 1),
        (
            "dinov2",
            {"image_processor_type": "LlavaImageProcessor", "do_pad": True, "size": 40, "crop_size": 40},
            26,
        ),
        ("dinov2", {"size": 40, "crop_size": 32, "resample": 0}, 17),
    ):
        encoder = ENCODERS[name]
        folder = tiny.save(tiny.reference(encoder), tmp_path)
        written(folder, values)
        config = {"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}, "select_layers": [1]}
        made = compose(config)
        assert plan(config) == made.plan
        assert (
            made.num_tokens(160, 90)
            == plan(config).num_tokens(160, 90)
            == len(made.encode(image)[0])
            == tokens
        )
        plain = compose({"schema": 1, "encoder": encoder})
        theirs, ours = (made.preprocess([image])["pixel_values"] for made in (plain, made))
        assert theirs.shape != ours.shape or not torch.equal(theirs, ours)


def test_a_config_feeds_the_tower_at_another_resolution() -> None:
    encoder = compose({"schema": 1, "encoder": ENCODERS["dinov2"], "image_processor": {"size": 48}})
    assert encoder.preprocess([Image.new("RGB", (90, 50))])["pixel_values"].shape == (1, 3, 48, 48)
    assert encoder.num_tokens(90, 50) == 37
    fixed = compose({"schema": 1, "encoder": CLIP, "image_processor": {"size": 48}})
    with pytest.raises(
        InputError, match="resized to 48x48 pixels does not fit this encoder, which takes 32x32"
    ):
        fixed.num_tokens(90, 50)


def test_models_that_round_sides_as_they_merge() -> None:
    assert plan("mistral-small-3.1-24b").num_tokens(640, 480) == 46 * 36
    assert plan("lighton-ocr-1b").num_tokens(640, 480) == 46 * 36
    assert plan("lfm2-vl-3b").num_tokens(320, 240) == 20 * 16
    assert plan("internvl3-1b").num_tokens(640, 480) == 32 * 32


# --- the hub's cache ----------------------------------------------------------------------------------


def test_the_hubs_cache_is_read_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--clip"
    commit = "0123456789012345678901234567890123456789"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert folder_at_hand("someone/clip") is None
    written(snapshot, {"size": 40, "crop_size": 32})
    theirs = try_to_load_from_cache("someone/clip", "preprocessor_config.json", cache_dir=tmp_path)
    assert folder_at_hand("someone/clip") == Path(str(theirs)).parent == snapshot
    assert folder_at_hand("someone/clip", commit) == snapshot
    written(tmp_path / "elsewhere", {})
    outside = ["../../elsewhere", str(tmp_path / "elsewhere")]
    nowhere = [("someone/clip", revision) for revision in ("v2", *outside)] + [("some/one/clip", None)]
    for source, revision in [*nowhere, (None, None)]:
        assert folder_at_hand(source, revision) is None
    made = plan({"schema": 1, "encoder": CLIP, "weights": {"source": "someone/clip"}}).processor
    assert (made.values["size"], made.origin["size"]) == ({"shortest_edge": 40}, "preprocessor_config.json")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_where_the_cache_lies(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}.get(variable, "")
    folder = written_deep(tmp_path / below / "models--a" / "snapshots" / "main")
    assert folder_at_hand("a") == folder


def written_deep(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return written(folder, {})
