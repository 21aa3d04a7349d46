"""``extends``: which configs a config stands on, and what is wrong with one that cannot."""

import pytest
from support.loading import CLIP, load, no_preset, refused

from vision_composer.errors import ConfigError
from vision_composer.presets import load_config as load_preset
from vision_composer.schemas import load_config
from vision_composer.schemas.yaml.reading import read_yaml


def test_extends_merges_from_left_to_right_and_the_file_last(write):
    write(
        "base/a.yaml",
        "schema: 1\nname: a\nsummary: a\nsource: a\nencoder: {model_type: dinov2, hidden_size: 96}\n",
    )
    write("base/b.yaml", "extends: ./c.yaml\nsummary: b\n")
    write("base/c.yaml", "name: c\nsummary: c\nencoder: {num_hidden_layers: 3}\n")
    write("main.yaml", "extends: [./base/a.yaml, ./base/b.yaml]\nsource: main\nencoder: {hidden_size: 192}\n")
    config = load("main.yaml")
    assert (config.name, config.summary, config.source) == ("c", "b", "main")
    assert (config.encoder.hidden_size, config.encoder.num_hidden_layers) == (192, 3)


def test_extends_takes_presets_files_and_saved_towers(write, monkeypatch):
    preset = write("elsewhere/preset.yaml", CLIP)
    tower = write("saved/tower.yaml", CLIP)
    monkeypatch.setenv("HOME", str(tower.parent.parent))
    for name in ("clip", "a/clip", "./saved", str(tower.parent), "~/saved"):
        write("main.yaml", f"extends: {name}\nname: main\n")
        assert load("main.yaml", find_preset=lambda name: preset).name == "main"
    assert load({"extends": "./saved", "name": "main"}).name == "main"


def test_extends_stays_in_the_root(write, tmp_path):
    write("base.yaml")
    write("team/secret.yaml", "extends: ../base.yaml\n")
    write("team/main.yaml", "extends: ./secret.yaml\n")
    (problem,) = refused("team/main.yaml")
    assert (problem.code, str(problem.span)) == ("VC007", "team/secret.yaml:1:10")
    assert "--root" in problem.message
    for root in (tmp_path, ".", "team/.."):
        assert load_config("team/main.yaml", find_preset=no_preset, root=root)
    assert load_preset("team/main.yaml", root=tmp_path) == load("base.yaml")
    with pytest.raises(ConfigError, match="leads out"):
        load_config("team/main.yaml", find_preset=no_preset, root="team")
    with pytest.raises(ConfigError, match="leads out"):
        load({"extends": "../x.yaml"})


def test_a_link_cannot_lead_out_of_the_root(write, tmp_path):
    write("base.yaml")
    main = write("team/main.yaml", "extends: ./inside.yaml\n")
    (main.parent / "inside.yaml").symlink_to(tmp_path / "base.yaml")
    (problem,) = refused("team/main.yaml")
    assert "leads out" in problem.message
    (tmp_path / "link").symlink_to(tmp_path / "team")
    (tmp_path / "team" / "inside.yaml").unlink()
    write("team/inside.yaml")
    assert load("link/main.yaml")


def test_a_preset_may_extend_what_lies_beside_it(write):
    write("presets/base.yaml")
    preset = write("presets/clip.yaml", "extends: ./base.yaml\n")
    write("team/main.yaml", "extends: clip\n")
    assert load("team/main.yaml", find_preset=lambda name: preset)


def test_another_family_replaces_the_encoder_it_extends(write):
    write("clip.yaml", CLIP + "  projection_dim: 8\n")
    write("main.yaml", "extends: ./clip.yaml\nencoder: {model_type: dinov2}\n")
    assert load("main.yaml").encoder.model_type == "dinov2"


def test_a_diamond_is_no_circle(write):
    write("root.yaml")
    write("left.yaml", "extends: ./root.yaml\nname: left\n")
    write("right.yaml", "extends: ./root.yaml\nsummary: right\n")
    write("main.yaml", "extends: [./left.yaml, ./right.yaml]\n")
    assert (load("main.yaml").name, load("main.yaml").summary) == ("left", "right")


def test_wide_and_deep_extends_are_read_once_each(write, monkeypatch):
    from vision_composer.schemas.yaml import extends

    write("f0.yaml")
    for i in range(1, 16):
        write(f"f{i}.yaml", f"extends: [{', '.join([f'./f{i - 1}.yaml'] * 16)}]\n")
    reads = []
    monkeypatch.setattr(
        extends, "read_yaml", lambda path, source: reads.append(path) or read_yaml(path, source)
    )
    load("f15.yaml")
    assert len(reads) == 16


@pytest.mark.parametrize(
    ("extends", "message", "column"),
    [
        ("5", "a preset's name, a path", 10),
        ("null", "a preset's name, a path", 10),
        ("{a: b}", "a preset's name, a path", 10),
        ("''", "a preset's name, a path", 10),
        ("[clip.yaml, 5]", "a preset's name, a path", 22),
        ("[clip.yaml, [clip.yaml]]", "a preset's name, a path", 22),
        ("https://example.com/a.yaml", "URL", 10),
        ("file:///a.yaml", "URL", 10),
        ("./missing.yaml", "no such file: ./missing.yaml", 10),
        ("/missing/x", "leads out of the folder", 10),
        ("../missing.yaml", "leads out of the folder", 10),
        ("~root/x", "leads out of the folder", 10),
        ("'nul\\0.yaml'", "no such file", 10),
        ('"nul\\0.yaml"', "no such file", 10),
        ("missing", "there is no preset 'missing'", 10),
        ("folder", "there is no preset 'folder'; for the file beside this one write ./folder", 10),
        ("./main.yaml", "leads in a circle: main.yaml -> main.yaml", 10),
        ("[clip.yaml, ./loop.yaml]", "leads in a circle: main.yaml -> loop.yaml -> main.yaml", None),
        ("${name}", "there is no preset '${name}'", 10),
        (f"[{', '.join(['clip.yaml'] * 17)}]", "more than 16", 10),
    ],
)
def test_extends_that_leads_nowhere(write, extends, message, column):
    write("clip.yaml")
    write("folder/tower.yaml")
    write("loop.yaml", "extends: ./main.yaml\n")
    write("main.yaml", f"extends: {extends}\n{CLIP}")
    (problem,) = refused("main.yaml")
    assert problem.code == "VC007"
    assert message in problem.message
    if column:
        assert str(problem.span) == f"main.yaml:1:{column}"
    else:
        assert str(problem.span) == "loop.yaml:1:10"


@pytest.mark.parametrize(
    ("tower", "place"),
    [
        ("missing", "main.yaml:3:6: towers.b"),
        ("{extends: missing}", "main.yaml:3:16: towers.b.extends"),
        ("{extends: [./clip.yaml, missing]}", "main.yaml:3:30: towers.b.extends"),
        ("{extends: ./loop.yaml}", "loop.yaml:1:10: extends"),  # its own, in its own file
    ],
)
def test_a_tower_that_extends_what_is_not_there(write, tower, place):
    write("clip.yaml")
    write("loop.yaml", "extends: missing\n")
    write("main.yaml", f"towers:\n  a: ./clip.yaml\n  b: {tower}\nschema: 1\n")
    (problem,) = refused("main.yaml")
    assert f"{problem.span}: {problem.path}" == place


def test_a_chain_of_extends_has_a_limit(write):
    write("f0.yaml")
    for i in range(1, 20):
        write(f"f{i}.yaml", f"extends: ./f{i - 1}.yaml\n")
    assert load("f15.yaml")
    assert "chain of more than 16" in refused("f16.yaml")[0].message
