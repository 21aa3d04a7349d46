"""Where a key belongs that stands in the wrong place."""

import pytest
from support.loading import refused

from vision_composer.schemas import ENCODER_CONFIGS, FusedConfig, TowerConfig

CLIP = {"model_type": "clip_vision_model"}
ROOT = [field.alias or name for name, field in TowerConfig.model_fields.items()]

ROOT_OF_SEVERAL = [field.alias or name for name, field in FusedConfig.model_fields.items()]


@pytest.mark.parametrize("key", ROOT)
def test_a_key_of_the_root_in_the_encoder(key):
    (problem,) = refused({"schema": 1, "encoder": {**CLIP, key: None}})
    assert problem.message == "unknown key; it belongs at the root, outside this block"


@pytest.mark.parametrize("key", [key for key in ROOT if key not in ROOT_OF_SEVERAL])
def test_a_key_of_one_tower_at_the_root_of_several(key):
    (problem,) = refused({"schema": 1, "towers": {"a": {"encoder": CLIP}, "b": {"encoder": CLIP}}, key: None})
    of_all = {
        "encoder": "every encoder is in a tower",
        "reduce": "tokens are not reduced",
        "tiling": "an image is taken whole, not cut into tiles",
    }
    expected = of_all.get(key, "it belongs in each tower")
    assert problem.message == f"unknown key; with towers {expected}"


@pytest.mark.parametrize("model_type", ENCODER_CONFIGS)
def test_a_key_of_the_encoder_at_the_root(model_type):
    for key in ENCODER_CONFIGS[model_type].model_fields:
        if key in ROOT or key.startswith("vision_feature"):  # what a config of ours calls otherwise
            continue
        problems = refused({"schema": 1, "encoder": CLIP, key: 1})
        assert [problem.message for problem in problems] == ["unknown key; it belongs in encoder"]


@pytest.mark.parametrize(
    ("key", "block"),
    [("dtype", "weights"), ("prefix", "weights"), ("mode", "compile or parallel"), ("freeze", "training")],
)
def test_a_key_of_another_block(key, block):
    for values in ({key: 1}, {"encoder": {**CLIP, key: 1}}):
        (problem,) = refused({"schema": 1, "encoder": CLIP, **values})
        assert problem.message == f"unknown key; it belongs in {block}"


@pytest.mark.parametrize("model_type", ENCODER_CONFIGS)
@pytest.mark.parametrize("names", [("num_hidden_layers", "depth"), ("num_attention_heads", "num_heads")])
def test_what_another_family_calls_it(model_type, names):
    ours = [name for name in names if name in ENCODER_CONFIGS[model_type].model_fields]
    theirs = [name for name in names if name not in ours]
    if len(ours) == 1:
        (problem,) = refused({"schema": 1, "encoder": {"model_type": model_type, theirs[0]: 4}})
        assert problem.message == f"unknown key; this family calls it {ours[0]}"


def test_a_key_that_few_families_have():
    families = {}
    for name, model in ENCODER_CONFIGS.items():
        for key in model.model_fields:
            if name == model.model_types()[0]:  # a variant has no keys of its own
                families.setdefault(key, []).append(name)
    checked = 0
    for key, names in families.items():
        if len(names) > 3 or "clip_vision_model" in names:
            continue
        (problem,) = refused({"schema": 1, "encoder": {**CLIP, key: 1}})
        if "this family calls it" not in problem.message:
            assert (
                problem.message
                == f"unknown key; {', '.join(sorted(names))} {'have' if names[1:] else 'has'} it"
            )
            checked += 1
    assert checked > 10
