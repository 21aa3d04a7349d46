from pathlib import Path

import pytest
from support.loading import golden

from vision_composer.presets import preset_path
from vision_composer.schemas import load_tree, validate_tree
from vision_composer.schemas.yaml.warnings import warnings_of

WARNED = Path(__file__).parents[1] / "warned"
COMMIT = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"


def warned(source, *overrides):
    tree = load_tree(source, overrides=overrides, find_preset=preset_path)
    return warnings_of(validate_tree(tree), tree)


@pytest.mark.parametrize("file", sorted(WARNED.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_lies_beside_its_warnings(file, monkeypatch):
    monkeypatch.chdir(WARNED)
    text = "".join(warning.render() + "\n" for warning in warned(file.name))
    # Where the package is installed is not the test's business.
    text = text.replace(str(preset_path("clip/vit-base-patch32").parents[1]), "PRESETS")
    assert text == golden(file)


@pytest.mark.parametrize(
    "values",
    [
        {"weights": {"source": "openai/clip", "revision": COMMIT}},
        {"weights": {"source": "./model.safetensors"}},
        {"weights": {"source": "/models/clip"}},
        {"weights": {"source": "./x"}, "post_norm": "last"},
        {"weights": {"source": "./x"}, "post_norm": "last", "select_layers": [-2, -1]},
        {"weights": {"source": "./x"}, "post_norm": "each", "select_layers": [-2]},
        {"weights": {"source": "./x"}, "select_layers": [-2, 10, -1]},
    ],
)
def test_nothing_to_warn_of(values):
    assert warned({"schema": 1, "encoder": {"model_type": "clip_vision_model"}, **values}) == []


def test_warnings_are_told_from_errors():
    (warning,) = warned({"schema": 1, "encoder": {"model_type": "dinov2"}})
    assert warning.warning
    assert (warning.code, warning.path, warning.span) == ("VC301", "weights", None)
