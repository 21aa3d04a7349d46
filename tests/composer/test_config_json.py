import json
import os

import pytest
from support.vlms import save_vlm

from vision_composer import compose, load_config, plan
from vision_composer.config_json import tower_from_transformers, tower_of_config_json
from vision_composer.errors import ConfigError, InputError

CLIP = {"model_type": "clip_vision_model", "hidden_size": 64, "num_attention_heads": 4}
SIGLIP = {**CLIP, "model_type": "siglip_vision_model"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def selection(fields):
    config = load_config(tower_from_transformers(fields))
    return config.select_layers, config.feature_select_strategy, config.post_norm


def test_an_encoder_alone():
    config = load_config(tower_from_transformers({**CLIP, "torch_dtype": "bfloat16", "architectures": ["X"]}))
    assert (config.encoder.hidden_size, config.weights.dtype) == (64, "bfloat16")
    assert config.select_layers is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model_type": "llava", "vision_config": CLIP}, ((-2,), "default", "none")),
        (
            {"model_type": "llava", "vision_config": CLIP, "vision_feature_layer": [-2, 3]},
            ((-2, 3), "default", "none"),
        ),
        (
            {"model_type": "llava", "vision_config": SIGLIP, "vision_feature_select_strategy": "full"},
            ((-2,), "full", "none"),
        ),
        ({"model_type": "llava_onevision", "vision_config": SIGLIP}, ((-1,), "full", "none")),
        ({"model_type": "internvl", "vision_config": {}}, (None, "default", "auto")),
        (
            {"model_type": "internvl", "vision_config": {}, "vision_feature_layer": -2},
            ((-2,), "default", "none"),
        ),
        ({"model_type": "gemma3", "vision_config": {}}, (None, "full", "auto")),
        ({"model_type": "clip", "vision_config": CLIP}, (None, "full", "auto")),
    ],
)
def test_how_a_model_reads_its_tower(fields, expected):
    assert selection(fields) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "llavva", "vision_config": CLIP}, "did you mean 'llava'"),
        ({"vision_config": CLIP}, "'None' reads its tower is not known"),
        ({"model_type": "llava", "vision_config": 5}, "expected an object"),
        ({"model_type": "llava", "vision_config": {"model_type": "x"}}, "no family for model_type 'x'"),
        ({"model_type": "llava", "vision_config": {"hidden_size": "x"}}, "vision_config.hidden_size"),
        ({"model_type": "llava", "vision_config": SIGLIP}, "'full' keeps all"),
        ({"model_type": "llava", "vision_config": CLIP, "vision_feature_select_strategy": 3}, "got 3"),
        ({}, "no family"),
        ({"architecture": "resnet50", "num_features": 768}, "timm's 'resnet50' is none of the vision"),
        ({"model_cfg": {"embed_dim": 512}, "preprocess_cfg": {}}, "model_cfg.vision_cfg: missing"),
        ({"model_type": ["llava"], "vision_config": CLIP}, r"expected the name of a model, got \['llava'\]"),
        (
            {"model_type": "llava", "vision_config": {"model_type": ["x"]}},
            "vision_config.model_type: expected",
        ),
        ({"model_type": "llava", "vision_config": {"model_type": {}}}, "vision_config.model_type: expected"),
        ({"model_type": "x" * 5_000}, "expected the name of a model, got 'xxx"),
        ({"model_type": 5}, "expected the name of a model, got 5"),
    ],
)
def test_what_cannot_be_expressed_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message) as raised:
        tower_from_transformers(fields)
    assert len(str(raised.value)) < 400


def test_weights_are_read_from_beside_the_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CLIP))
    assert load_config(tower_of_config_json(str(tmp_path))).weights.source is None
    (tmp_path / "model.safetensors").touch()
    for source in (file, tmp_path):
        assert load_config(tower_of_config_json(str(source))).weights.source == str(tmp_path)


def test_a_hub_id_is_pinned_to_the_commit_that_was_read(tmp_path, monkeypatch):
    import huggingface_hub

    snapshot = tmp_path / COMMIT
    snapshot.mkdir()
    (snapshot / "config.json").write_text(json.dumps(CLIP))
    asked = []

    def download(repo, name, revision=None):
        asked.append((repo, name, revision))
        return str(snapshot / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    config = load_config(tower_of_config_json("org/model", "main"))
    assert (config.weights.source, config.weights.revision) == ("org/model", COMMIT)
    names = ("config.json", "processor_config.json", "preprocessor_config.json")
    assert asked == [("org/model", name, "main") for name in names]


def test_a_hub_that_cannot_be_reached_is_waited_for_once(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    waited = []

    def download(repo, name, revision=None, local_files_only=False):
        if not local_files_only:
            waited.append(name)
        raise LocalEntryNotFoundError("cannot find the file, and there is no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(InputError, match=r"org/model: no such file .* no config\.json from the hub"):
        tower_of_config_json("org/model")
    assert waited == ["config.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\ud800", '{"a": 1, "a": 2}'])
def test_what_is_no_json_object(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"config\.json"):
        tower_of_config_json(str(tmp_path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    for source in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(InputError, match=r"config\.json: .* a named pipe, not a regular"):
            tower_of_config_json(str(source))


def test_a_name_too_long_for_a_file():
    with pytest.raises(InputError, match="neither a path nor a hub id"):
        tower_of_config_json("a" * 5_000)


def test_no_such_source(tmp_path):
    with pytest.raises(InputError):
        tower_of_config_json(str(tmp_path / "a b" / "missing" / "x"))
    with pytest.raises(InputError, match=r"config\.json"):
        tower_of_config_json(str(tmp_path))


def test_a_home_that_nobody_has():
    with pytest.raises(InputError, match="~nosuch/x"):
        tower_of_config_json("~nosuch/x")


def test_what_the_checkpoints_processor_config_sets_differently(tmp_path):
    vision = {"model_type": "clip_vision_model", "image_size": 336}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava_next", "vision_config": vision}))
    assert "image_processor" not in tower_of_config_json(str(tmp_path))
    values = {
        "image_processor_type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 336},
        "crop_size": 336,
        "resample": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_pad": True,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    made = tower_of_config_json(str(tmp_path))
    assert made["image_processor"] == {
        "type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 336},
        "resample": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "crop": {"height": 336, "width": 336},
    }
    given = {**made, "image_processor": {}, "weights": {"source": str(tmp_path)}}
    assert plan(made).processor.to_json() == plan(given).processor.to_json()
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Unheard"}')
    assert "image_processor" not in tower_of_config_json(str(tmp_path))


def test_the_tower_of_a_model_that_has_two_is_named():
    config = load_config(tower_from_transformers({"model_type": "video_llava", "vision_config": CLIP}))
    assert config.weights.prefix == "image_tower"


def test_a_tower_inside_an_encoder_and_a_decoder():
    encoder = {"model_type": "t5gemma2_encoder", "vision_config": {}, "text_config": {"hidden_size": 96}}
    fields = {"model_type": "t5gemma2", "encoder": encoder, "decoder": {}, "dtype": "bfloat16"}
    config = load_config(tower_from_transformers(fields))
    assert config.encoder.model_type == "siglip_vision_model"
    assert (config.connector.type, config.connector.hidden_size) == ("gemma3", 96)
    assert config.weights.dtype == "bfloat16"


def test_granite_doclings_fine_path_is_refused():
    with pytest.raises(ConfigError, match="fine_route: the fine path"):
        tower_from_transformers({"model_type": "granite_docling", "vision_config": {}}, {"fine_route": True})


def test_molmo2s_older_names_mean_the_same_tower(tmp_path, recwarn):
    """Of six blocks that an older file names, the two behind the deepest that is read have no weights."""
    file = save_vlm("molmo2", tmp_path) / "config.json"
    made, fields = tower_of_config_json(str(tmp_path)), json.loads(file.read_text())
    renamed = {"image_size": "image_default_input_size", "patch_size": "image_patch_size"}
    renamed |= {"num_position_embeddings": "image_num_pos"}
    vision = {renamed.get(key, key): value for key, value in fields.pop("vision_config").items()}
    fields["vit_config"] = vision | {
        "num_hidden_layers": 6,
        "model_type": "molmo2",
    }
    adapter = fields["adapter_config"]
    assert adapter.pop("vision_feature_layer") == [3, 1]
    fields["adapter_config"] = adapter | {"vit_layers": [-3, -5]}
    file.write_text(json.dumps(fields))
    older = tower_of_config_json(str(tmp_path))
    assert older == made
    assert older["select_layers"] == [4, 2]
    assert older["connector"]["pooling_size"] == [2, 2]
    compose(older, overrides=["output=embeds"])
    assert not recwarn.list


@pytest.mark.parametrize("ratio", [0, -1, 2, 1e-320, "half", [1]])
def test_a_downsample_ratio_that_is_none_is_refused(ratio):
    fields = {"model_type": "internvl", "vision_config": {}, "downsample_ratio": ratio}
    with pytest.raises(ConfigError, match=r"downsample_ratio: expected a number above 0\.001 and up to 1"):
        tower_from_transformers(fields)


@pytest.mark.parametrize("key", ["vit_layers", "vision_feature_layer"])
@pytest.mark.parametrize("layers", [5, "24", [1, "18"], {"24": 18}])
def test_molmo2_layers_that_are_no_list_of_numbers_are_refused(key, layers):
    fields = {"model_type": "molmo2", "vision_config": {}, "adapter_config": {key: layers}}
    with pytest.raises(ConfigError, match=rf"adapter_config\.{key}: expected a list of blocks, got"):
        tower_from_transformers(fields)


def test_molmo2_reads_its_default_layers():
    fields = {"model_type": "molmo2", "vision_config": {}, "adapter_config": {"text_hidden_size": 48}}
    config = load_config(tower_from_transformers(fields))
    assert (config.select_layers, config.connector.hidden_size) == ((25, 19), 48)
    assert plan(config, overrides=["output=embeds"]).output_width == 48
