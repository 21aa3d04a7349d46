import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.loading import CLIP, golden, load, no_preset, refused
from support.strategies import nested

from vision_composer.errors import ConfigError
from vision_composer.presets import load_config as load_preset
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import CODES, FusedConfig, TowerConfig, load_config, load_tree

BAD = Path(__file__).parents[1] / "bad"
MAPPING = {"schema": 1, "encoder": {"model_type": "clip_vision_model"}}


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_bad_configs_say_what_is_wrong(file, monkeypatch):
    """Each lies beside the message that it should give; overrides stand in its first lines."""
    monkeypatch.chdir(BAD)
    lines = file.read_bytes().decode("utf-8", "replace").splitlines()
    overrides = [line.removeprefix("# overrides: ") for line in lines if line.startswith("# overrides: ")]
    with pytest.raises(ConfigError) as caught:
        load_preset(file.name, overrides=overrides)
    assert f"{caught.value}\n" == golden(file)


def test_sources_of_every_kind(write):
    file = write("tower.yaml", CLIP + "name: clip\n")
    expected = TowerConfig.model_validate({**MAPPING, "name": "clip"})
    mapping = {**MAPPING, "name": "clip"}
    for source in (
        file,
        str(file),
        "tower.yaml",
        "./tower.yaml",
        ".",
        file.parent,
        mapping,
        OrderedDict(mapping),
        expected,
    ):
        assert load(source) == expected
    assert load(OmegaConf.create(mapping)) == expected
    assert load("clip", find_preset=lambda name: file) == expected


def test_a_config_without_overrides_is_returned_as_it_is():
    config = TowerConfig.model_validate(MAPPING)
    assert load(config) is config


def test_overrides_apply_to_every_kind_of_source(write):
    file = write("a.yaml")
    for source in (file, "a.yaml", MAPPING, TowerConfig.model_validate(MAPPING), OmegaConf.create(MAPPING)):
        config = load(source, "select_layers=[-2]", "weights.dtype=float16", "compile.mode=default")
        assert config.select_layers == (-2,)
        assert config.weights.dtype == "float16"
        assert config.compile.mode == "default"
    assert load_config(MAPPING, overrides="name=one", find_preset=no_preset).name == "one"


def test_an_overridden_config_keeps_what_was_set_and_only_that():
    config = load(TowerConfig.model_validate({**MAPPING, "post_norm": "last"}), "name=x")
    assert config.to_dict() == {**MAPPING, "post_norm": "last", "name": "x"}


def test_a_file_is_preferred_to_a_preset_of_its_name(write):
    write("clip/tower.yaml", CLIP + "name: saved\n")
    preset = write("preset.yaml", CLIP + "name: preset\n")
    assert load("clip", find_preset=lambda name: preset).name == "saved"
    (preset.parent / "clip" / "tower.yaml").unlink()
    assert load("clip", find_preset=lambda name: preset).name == "preset"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing", "there is no preset 'missing'"),
        ("a/missing", "there is no preset 'a/missing'"),
        ("", "there is no preset ''"),
        ("x" * 10_000, "there is no preset"),
        ("nul\0", "there is no preset"),
        ("missing.yaml", "no such file: 'missing.yaml'"),
        ("./missing", "no such file"),
        ("a/b/missing", "no such file"),
        ("~/missing", "no such file"),
        (Path("missing"), "no such file"),
        ("./folder", "the folder './folder' holds no tower.yaml"),
        (Path("folder"), "holds no tower.yaml"),
        ("folder", "there is no preset 'folder'"),
        (None, "not from NoneType"),
        (5, "not from int"),
        ([MAPPING], "not from list"),
        (OmegaConf.create([1]), "not from ListConfig"),
    ],
)
def test_no_such_source(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (problem,) = refused(source)
    assert problem.code == "VC010"
    assert message in problem.message


def test_problems_of_a_mapping_have_paths_and_no_position():
    problems = refused({"schema": 1, "encoder": {"model_type": "dinov2", "hidden_sise": 1}, "name": 5})
    assert sorted(problem.path for problem in problems) == ["encoder.hidden_sise", "name"]
    assert [problem.span for problem in problems] == [None, None]


def test_the_python_name_of_a_key_is_no_key():
    (problem,) = refused({"schema_version": 1, "encoder": {"model_type": "dinov2"}})
    assert (problem.code, problem.path) == ("VC101", "schema_version")


# extends


def test_an_error_stands_in_the_file_that_wrote_the_value(write):
    write("base.yaml", CLIP + "  hidden_size: big\npost_norm: never\nname: 5\n")
    write("main.yaml", "extends: ./base.yaml\nhead: 1\nname: main\n")
    problems = refused("main.yaml", "post_norm=x")
    assert [str(problem.span) for problem in problems] == [
        "main.yaml:2:7",
        "base.yaml:4:16",
        "override 'post_norm=x':1:11",
    ]


def test_a_missing_key_stands_at_its_block(write):
    write("base.yaml", "schema: 1\nencoder:\n  hidden_size: 64\n")
    write("main.yaml", "extends: ./base.yaml\nname: x\n\nencoder: {image_size: 64}\n")
    (problem,) = refused("main.yaml", "encoder.patch_size=8")
    assert (problem.code, problem.path, str(problem.span)) == ("VC102", "encoder.model_type", "main.yaml:4:1")


def test_a_rule_about_a_default_stands_at_the_block(write):
    file = write("a.yaml", CLIP + "  hidden_size: 100\n")  # 12 heads by default
    (problem,) = refused(file)
    assert (problem.code, problem.path) == ("VC208", "encoder.num_attention_heads")
    assert (problem.span.line, problem.span.column) == (2, 1)


def test_files_are_read_anew(write):
    file = write("a.yaml", CLIP + "name: a\n")
    assert load(file).name == "a"
    stamp = file.stat()
    write("a.yaml", CLIP + "name: b\n")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert load(file).name == "b"


# weights.source


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("gpt2", "gpt2"),
        ("./w", "{sub}/w"),
        ("../w", "{root}/w"),
        ("x/../../w.safetensors", "{root}/w.safetensors"),
        ("w.safetensors", "{sub}/w.safetensors"),
        ("deep/w.safetensors", "{sub}/deep/w.safetensors"),
        ("a/b/c", "{sub}/a/b/c"),
        (".", "{sub}"),
        ("..", "{root}"),
        ("/abs/w", "/abs/w"),
        ("~/w", "{root}/w"),
        ("org/here", "{sub}/org/here"),
        ("${name}.safetensors", "{sub}/n.safetensors"),
    ],
)
def test_weights_paths_are_relative_to_the_file_that_says_them(write, monkeypatch, written, expected):
    root = write("main.yaml", "extends: sub/base.yaml\nname: n\n").parent
    monkeypatch.setenv("HOME", str(root))
    write(
        "sub/base.yaml",
        f"{CLIP}weights: {{source: {written!r}}}\n"
        if "{" in written
        else f"{CLIP}weights:\n  source: {written}\n",
    )
    write("sub/org/here/x")
    source = expected.format(root=root, sub=root / "sub")
    assert load("main.yaml").weights.source == source
    monkeypatch.chdir("/")
    assert load(root / "main.yaml").weights.source == source


def test_weights_paths_of_overrides_and_mappings_are_relative_to_the_current_directory(write):
    root = write("sub/base.yaml", CLIP).parent.parent
    assert load("sub/base.yaml", "weights.source=w.safetensors").weights.source == f"{root}/w.safetensors"
    assert load({**MAPPING, "weights": {"source": "./w"}}).weights.source == f"{root}/w"
    assert load("sub/base.yaml", "weights={source: a/b}").weights.source == "a/b"


def test_a_cost_table_is_relative_to_the_file_that_says_it(write):
    parallel = "parallel: {mode: data, cost_table: costs.json}\n"
    base = write("below/base.yaml", f"{CLIP}{parallel}")
    assert load(base).parallel.cost_table == str(base.parent / "costs.json")
    top = write("top.yaml", "extends: ./below/base.yaml\nname: top\n")
    assert load(top).parallel.cost_table == str(base.parent / "costs.json")
    assert load(top, "parallel.cost_table=mine.json").parallel.cost_table == str(top.parent / "mine.json")
    assert load(top, "parallel=none").parallel == "none"


def test_a_weights_source_of_a_wrong_type_is_left_to_validation(write):
    for text in ("weights: 5", "weights: {source: 5}", "weights: [a]", "weights: {source: {a: b}}"):
        assert refused(write("a.yaml", CLIP + text))[0].code == "VC103"


# anything


def test_load_tree_is_what_validation_sees(write):
    write("base.yaml", CLIP)
    write("main.yaml", "extends: ./base.yaml\nname: ${summary}\nsummary: x\n")
    tree = load_tree("main.yaml", overrides=["head=false"], find_preset=no_preset)
    assert tree.plain() == {**MAPPING, "name": "x", "summary": "x", "head": False}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["${name}", "???", "auto"])
)
VALUES = nested(SCALARS, st.text(max_size=5))
KEYS = st.sampled_from([field.alias or name for name, field in TowerConfig.model_fields.items()]) | st.text(
    max_size=5
)
BLOCKS = st.sampled_from([{"model_type": "dinov2"}, {"model_type": "vivit", "prefix_tokens": 1}, {}])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(KEYS, VALUES, max_size=6),
    BLOCKS,
    st.dictionaries(st.text(max_size=5), VALUES, max_size=2),
)
def test_any_mapping_is_a_config_or_a_config_error(data, block, more):
    with suppress(ConfigError):
        assert isinstance(load({"schema": 1, "encoder": {**block, **more}, **data}), TowerConfig)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_mutation_of_a_preset_is_a_config_or_a_config_error(tmp_path_factory, data):
    text = preset_path(data.draw(st.sampled_from(preset_names()))).read_text()
    lines = text.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "repeat", "swap", "edit", "indent"]))
        if kind == "edit":
            cut = data.draw(st.integers(0, len(lines[at])))
            lines[at] = (
                lines[at][:cut]
                + data.draw(st.text(max_size=4))
                + lines[at][cut + data.draw(st.integers(0, 4)) :]
            )
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            changed = {"drop": "", "repeat": lines[at] * 2, "swap": lines[other], "indent": "  " + lines[at]}
            lines[at] = changed[kind]
    file = tmp_path_factory.getbasetemp() / "mutated.yaml"
    file.write_bytes("".join(lines).encode("utf-8", "surrogatepass"))
    try:
        config, problems = load_preset(file), ()
    except ConfigError as error:
        config, problems = None, error.problems
    assert isinstance(config, TowerConfig | FusedConfig) or problems
    assert all(problem.code in CODES and problem.span is not None for problem in problems)


@pytest.mark.parametrize("text", ["costs ${5}", "\\${name}", "\\\\${", "${oc.env:HOME}"])
def test_a_config_that_was_loaded_is_loaded_again(text):
    """What looks like a reference in a validated config is text: it was resolved before, or escaped."""
    values = {"schema": 1, "name": "x", "encoder": {"model_type": "clip_vision_model"}}
    config = TowerConfig.model_validate({**values, "summary": text})
    assert load(config, "post_norm=none").summary == text
    assert load(config.to_dict()) == config
    assert load(config.resolved()).summary == text
    assert load({"schema": 1, "encoder": config.encoder, "summary": "x"}).encoder == config.encoder
