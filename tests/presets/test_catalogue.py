from pathlib import Path

import pytest

from vision_composer import presets
from vision_composer.errors import ConfigError, PluginError
from vision_composer.presets import is_preset, load_config, preset_names, preset_path


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


@pytest.fixture
def organisation(tmp_path, monkeypatch):
    """A project whose settings name a folder of presets; the current directory is below it."""
    (tmp_path / "shared/org").mkdir(parents=True)
    (tmp_path / "shared/org/base.yaml").write_text("extends: tiny-digits\nselect_layers: [-1]\n")
    (tmp_path / "vision-composer.toml").write_text("preset_paths = ['shared']\n")
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path / "configs")
    return tmp_path


def test_an_organisations_presets_are_found_and_extended(organisation):
    assert "org-base" in preset_names()
    assert is_preset("org/base")
    assert preset_path("org-base") == preset_path("org/base") == organisation / "shared/org/base.yaml"
    (organisation / "configs/a.yaml").write_text("extends: org/base\nname: a\n")
    assert load_config("a.yaml").select_layers == (-1,)
    with pytest.raises(ConfigError, match=r"did you mean 'org/base'"):
        preset_path("org/bace")


def test_no_preset_is_hidden_by_another_of_its_name(organisation):
    (organisation / "shared/tiny").mkdir()
    (organisation / "shared/tiny/digits.yaml").write_text("extends: dinov2-base\n")
    assert preset_path("tiny-digits").parent.parent == Path(presets.__file__).parent
    with pytest.raises(ConfigError, match="two presets are called 'tiny/digits'"):
        preset_path("org/base")


def test_presets_of_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "acme_presets/acme").mkdir(parents=True)
    (tmp_path / "acme_presets/__init__.py").write_text("raise SystemExit('never imported')")
    (tmp_path / "acme_presets/acme/tower.yaml").write_text("extends: tiny-digits\n")
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vision_composer.presets]\nacme = acme_presets\n")
    monkeypatch.syspath_prepend(tmp_path)
    presets._installed_folders.cache_clear()
    try:
        assert preset_path("acme/tower") == tmp_path / "acme_presets/acme/tower.yaml"
        (info / "entry_points.txt").write_text("[vision_composer.presets]\nacme = acme_gone\n")
        presets._installed_folders.cache_clear()
        with pytest.raises(PluginError, match="acme = acme_gone: there is no such package"):
            preset_names()
    finally:
        presets._installed_folders.cache_clear()
