from pathlib import Path

import pytest

from vision_composer.errors import ConfigError
from vision_composer.presets import load_config, preset_path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("clip-vit-large-patch14-33", "(did you mean 'clip-vit-large-patch14-336'?)"),
        ("clip/vit-large-patch14-33", "(did you mean 'clip/vit-large-patch14-336'?)"),
        ("", "vision-composer presets list"),
        ("../tiny/digits", "did you mean 'tiny/digits'"),
        ("clip/../tiny/digits", "there is no preset"),
        ("clip/vit-base-patch32.yaml", "did you mean 'clip/vit-base-patch32'"),
        ("clip", "there is no preset 'clip'"),
        ("__init__", "there is no preset"),
        ("nul\0", "there is no preset"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_hint(name, hint):
    with pytest.raises(ConfigError) as caught:
        preset_path(name)
    (problem,) = caught.value.problems
    assert problem.code == "VC010"
    assert hint in problem.message


def test_load_config_takes_presets_paths_mappings_and_configs(tmp_path):
    config = load_config("tiny-digits")
    assert (
        load_config("tiny/digits") == load_config(preset_path("tiny-digits")) == load_config(config) == config
    )
    assert load_config(config.to_dict()) == config
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny-digits\nselect_layers: [-1]\n")
    assert load_config(str(file)).select_layers == (-1,)
    assert load_config({"extends": "tiny/digits"}, overrides=["head=true"]).head


def test_a_saved_tower_here_is_preferred_to_the_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-digits").mkdir()
    assert load_config("tiny-digits").name == "tiny-digits"
    (tmp_path / "tiny-digits" / "tower.yaml").write_text("extends: tiny-digits\nname: mine\n")
    assert load_config("tiny-digits").name == "mine"
    assert load_config("tiny/digits").name == "tiny-digits"


def test_weights_that_come_with_a_preset_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = load_config("tiny-digits").weights.source
    assert source is not None
    assert Path(source).is_absolute()
    assert Path(source).is_file()
