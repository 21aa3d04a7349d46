import filecmp

import pytest
from support.offenders import offenders
from typer.testing import CliRunner

from vision_composer.cli import app, main
from vision_composer.errors import ConfigError
from vision_composer.presets import load_config, preset_names, preset_path


def run(*arguments):
    return CliRunner().invoke(app, ["presets", *map(str, arguments)])


def test_list_names_every_preset_and_says_what_it_is():
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == preset_names()
    for line in lines:
        name, summary = line.split(maxsplit=1)
        assert summary == load_config(name).summary


@pytest.mark.parametrize("name", ["llava-1.5-7b", "llava/1.5-7b"])
def test_show_prints_the_file(name):
    assert run("show", name).stdout == preset_path(name).read_text(encoding="utf-8")


def test_copy_to_a_file_and_to_a_folder(tmp_path):
    for dest, file in ((tmp_path / "mine.yaml", "mine.yaml"), (tmp_path, "vit-base-patch32.yaml")):
        result = run("copy", "clip/vit-base-patch32", dest)
        assert (result.exit_code, result.stdout) == (0, f"{tmp_path / file}\n")
        assert load_config(tmp_path / file) == load_config("clip/vit-base-patch32")
        # The editor's line would point at a schema that is not beside the copy.
        original = preset_path("clip/vit-base-patch32").read_text(encoding="utf-8").splitlines(keepends=True)
        assert (tmp_path / file).read_text(encoding="utf-8") == "".join(original[1:])


def test_a_copy_means_the_same(tmp_path):
    def check(name):
        folder = tmp_path / name
        folder.mkdir()
        assert run("copy", name, folder / "copy.yaml").exit_code == 0
        copy, expected = load_config(folder / "copy.yaml").to_dict(), load_config(name).to_dict()
        source, original = (config.get("weights", {}).pop("source", None) for config in (copy, expected))
        assert copy == expected
        if source != original:  # weights that come with the package are copied, too
            assert filecmp.cmp(source, original, shallow=False)
            assert source.startswith(str(folder))

    assert offenders(check, {*preset_names()[::4], "tiny-digits"}) == []


@pytest.mark.parametrize(
    ("dest", "message"),
    [
        ("there.yaml", "there already"),
        ("no/folder/x.yaml", "there is no folder"),
        ("digits.safetensors/x", "no folder"),
    ],
)
def test_copy_overwrites_nothing_and_makes_no_folders(tmp_path, dest, message):
    (tmp_path / "there.yaml").write_text("mine")
    (tmp_path / "digits.safetensors").write_text("mine")
    result = run("copy", "tiny-digits", tmp_path / dest)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.safetensors", "there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_copy_leaves_other_weights_alone(tmp_path):
    (tmp_path / "digits.safetensors").write_text("mine")
    assert run("copy", "tiny-digits", tmp_path / "new.yaml").exit_code == 2
    assert (tmp_path / "digits.safetensors").read_text() == "mine"
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.parametrize("command", [("show", "llava-1.5-7"), ("copy", "llava-1.5-7", "x.yaml")])
def test_an_unknown_preset(command, monkeypatch, capsys):
    assert isinstance(run(*command).exception, ConfigError)
    monkeypatch.setattr("sys.argv", ["vision-composer", "presets", *command])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "there is no preset 'llava-1.5-7' (did you mean 'llava-1.5-7b'?) [VC010]\n"
