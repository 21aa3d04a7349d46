"""Which image processor and which values count: those of the config, the checkpoint or the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.kinds import one_of_each_kind
from support.processors import resolved, written

from vision_composer import compose, load_config, plan
from vision_composer.errors import ConfigError, ImageError, InputError, WeightsError

ENCODERS = tiny.ALL
COLOUR = {name: encoder for name, encoder in ENCODERS.items() if encoder.get("num_channels", 3) == 3}
SQUARE = {"size": 40, "crop_size": 40}
CLIP = tiny.ENCODERS["clip_vision_model"]


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


def test_values_that_do_not_work() -> None:
    with pytest.raises(ConfigError, match="VC212"):
        resolved("AriaImageProcessor", None, {"size": 500})


# --- plans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", one_of_each_kind(ENCODERS))
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


@pytest.mark.parametrize("name", one_of_each_kind(COLOUR))
def test_an_image_gives_as_many_tokens_as_planned(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": COLOUR[name], "select_layers": [0]})

    @trials(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
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
