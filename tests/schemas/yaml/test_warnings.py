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
        {"weights": {"source": "openai/clip", "revision": "unpinned"}},
        {"weights": {"source": "a/b", "revision": COMMIT, "adapter": "c/d", "adapter_revision": "unpinned"}},
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


def test_only_a_file_itself_says_that_it_is_unpinned(tmp_path):
    for name, text in {
        "base.yaml": "schema: 1\nencoder: {model_type: dinov2}\nweights: {source: a/b, revision: unpinned}\n",
        "same.yaml": "extends: ./base.yaml\n",
        "other.yaml": "extends: ./base.yaml\nweights: {source: c/d}\n",
        "meant.yaml": "extends: ./base.yaml\nweights: {revision: unpinned}\n",
        "local.yaml": "extends: ./base.yaml\nweights: {source: ./x}\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = {path.name: warned(path) for path in tmp_path.iterdir()}
    where = {name: [(each.code, each.path, each.span.line) for each in all_] for name, all_ in found.items()}
    assert where.pop("same.yaml") == [("VC302", "weights.source", 1)]
    assert where.pop("other.yaml") == [("VC302", "weights.source", 2)]
    assert set(map(tuple, where.values())) == {()}
    assert warned(tmp_path / "base.yaml", "weights.revision=main") != []


def test_the_weights_of_all_towers_are_warned_of_at_the_root(tmp_path):
    text = "schema: 1\ntowers: {a: dinov2/small, b: dinov2/small}\nweights: {source: a/b, revision: main}\n"
    (tmp_path / "a.yaml").write_text(text.replace("dinov2/small", "{encoder: {model_type: dinov2}}"))
    assert {(each.path, each.span.line) for each in warned(tmp_path / "a.yaml")} == {("weights.revision", 3)}
    (tmp_path / "a.yaml").write_text((tmp_path / "a.yaml").read_text().replace("main", "unpinned"))
    assert warned(tmp_path / "a.yaml") == []
