import pytest
import yaml
from support.offenders import offenders
from typer.testing import CliRunner

from vision_composer import load_config
from vision_composer.cli import app
from vision_composer.presets import preset_names


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = (
        "schema: 1\nencoder: {model_type: dinov2, image_size: 98, patch_size: 14}\nselect_layers: [-2, -3]\n"
    )
    (tmp_path / "base.yaml").write_text(base)
    main = "extends: ./base.yaml\nencoder:\n  image_size: 112\n  hidden_size: ${encoder.image_size}\n"
    (tmp_path / "main.yaml").write_text(main + "  num_attention_heads: 4\n")
    return tmp_path


def test_explain_names_every_place_that_wrote_the_value(folder):
    result = run("explain", "main.yaml", "encoder.image_size", "-s", "encoder.image_size=126",
                 "-s", "encoder.hidden_size=96")  # fmt: skip
    assert result.stdout == (
        "encoder.image_size: 126\n"
        "  set at override 'encoder.image_size=126':1:20: encoder.image_size=126\n"
        "  over main.yaml:3:15: image_size: 112\n"
        "  over base.yaml:2:43: encoder: {model_type: dinov2, image_size: 98, patch_size: 14}\n"
    )


def test_explain_shows_references_items_blocks_and_defaults(folder):
    assert run("explain", "main.yaml", "encoder.hidden_size").stdout == (
        "encoder.hidden_size: 112\n  set at main.yaml:4:16: hidden_size: ${encoder.image_size}\n"
    )
    result = run("explain", "main.yaml", "select_layers[1]", "-s", "select_layers[1]=-4")
    assert result.stdout.splitlines()[0] == "select_layers[1]: -4"
    assert result.stdout.splitlines()[2].endswith("base.yaml:3:21: select_layers: [-2, -3]")
    assert run("explain", "main.yaml", "weights.dtype").stdout == "weights.dtype: float32\n  default\n"
    block = run("explain", "main.yaml", "select_layers").stdout
    assert block.splitlines()[::2] == ["select_layers[0]: -2", "select_layers[1]: -3"]


def test_explain_of_a_key_that_is_not_there(folder):
    result = run("explain", "main.yaml", "encoder.hiden_size")
    assert result.exit_code == 2
    assert "encoder.hidden_size" in result.stderr.replace("\n", " ")


def test_files_that_are_extended_twice_are_named_once(folder):
    (folder / "twice.yaml").write_text("extends: [./base.yaml, ./main.yaml, ./base.yaml, ./main.yaml]\n")
    assert run("explain", "twice.yaml", "encoder.image_size").stdout.splitlines() == [
        "encoder.image_size: 112",
        "  set at main.yaml:3:15: image_size: 112",
        "  over base.yaml:2:43: encoder: {model_type: dinov2, image_size: 98, patch_size: 14}",
    ]


@pytest.mark.parametrize("flags", [[], ["--resolved"]])
def test_show_is_the_same_config(flags, tmp_path):
    def check(name):
        (tmp_path / "shown.yaml").write_text(run("show", name, *flags).stdout)
        shown, config = load_config(tmp_path / "shown.yaml"), load_config(name)
        assert shown.resolved() == config.resolved()
        assert flags or shown == config

    assert offenders(check, [*preset_names()[::9], "tiny-digits"]) == []


def test_show_resolved_has_every_key(folder):
    written = yaml.safe_load(run("show", "main.yaml", "--resolved", "-s", "name=x").stdout)
    config = load_config("main.yaml")
    assert set(written["encoder"]) == set(type(config.encoder).model_fields)
    keys = {field.alias or name for name, field in type(config).model_fields.items()}
    assert set(written) == keys - {"reduce", "quantize"}  # which are there only if they do something
    assert (written["name"], written["encoder"]["hidden_size"]) == ("x", 112)


@pytest.mark.parametrize("command", [["show"], ["explain"], ["diff", "main.yaml"]])
def test_root(command, folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "a.yaml").write_text("extends: ../main.yaml\n")
    arguments = [*command, "deep/a.yaml", *(["encoder"] if command == ["explain"] else [])]
    assert "leads out" in str(run(*arguments).exception)
    assert run(*arguments, "--root", ".").exit_code == 0
