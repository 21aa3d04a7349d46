"""LoRA adapters: merged as peft merges them, whatever stands before the tower's names, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.checkpoints import ENCODER, Tensors, features, load, rewrite

from vision_composer import compose
from vision_composer.errors import ConfigError, WeightsError

QUERY = "encoder.layers.1.self_attn.q_proj"
FC1 = "encoder.layers.0.mlp.fc1"
RANK = 2
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "lora_dropout": 0.1, "target_modules": ["q_proj"]}
LANGUAGE = "base_model.model.model.language_model.layers.0.self_attn.q_proj"


def matrices(module: str, outputs: int, inputs: int, *, rank: int = RANK) -> Tensors:
    generator = torch.Generator().manual_seed(len(module.rpartition("layers.")[2]))
    return {
        f"{module}.lora_A.weight": torch.randn(rank, inputs, generator=generator),
        f"{module}.lora_B.weight": torch.randn(outputs, rank, generator=generator),
    }


def tensors(before: str = "base_model.model.") -> Tensors:
    return {**matrices(f"{before}{QUERY}", 32, 32), **matrices(f"{before}{FC1}", 48, 32)}


def adapter(folder: Path, tensors: Tensors, **keys: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **keys}))
    return folder


def merged(folder: Path, lora: Path, **keys: Any) -> Any:
    weights = {"adapter": str(lora), **keys.pop("weights", {})}
    return load(folder, weights=weights, **keys)


def weight(tower: Any, module: str) -> torch.Tensor:
    return tower.model.get_submodule(module).weight.detach()


def product(tensors: Tensors, module: str) -> torch.Tensor:
    a, b = (next(t for n, t in tensors.items() if n.endswith(f"{module}.lora_{s}.weight")) for s in "AB")
    return b @ a


@pytest.mark.parametrize(
    ("keys", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / RANK**0.5),
        ({"lora_alpha": 1, "init_lora_weights": "gaussian", "eva_config": {"rho": 1}}, 0.5),
        ({"alpha_pattern": {"q_proj": 8, "fc1": 6}}, 4.0),
        ({"alpha_pattern": {f"^BASE{QUERY}": 8}}, 4.0),
        ({"alpha_pattern": {"^q_proj": 8, "j": 8, "roj": 8}}, 3.0),
        ({"r": 5, "rank_pattern": {"self_attn.q_proj": RANK, FC1: RANK}}, 3.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("base", ["", "vision_model."])
def test_products_are_added(
    keys: dict[str, Any], scale: float, base: str, folder: Path, tmp_path: Path
) -> None:
    before = load(folder)
    keys = json.loads(json.dumps(keys).replace("BASE", base))
    held = tensors(f"base_model.model.{base}")
    after = merged(folder, adapter(tmp_path / "lora", held, **keys))
    for module, by in ((QUERY, scale), (FC1, 6 / RANK**0.5 if "use_rslora" in keys else 6 / RANK)):
        if module == FC1 and "lora_alpha" in keys:
            by = 0.5
        expected = weight(before, module) + product(held, module) * by
        torch.testing.assert_close(weight(after, module), expected, rtol=1e-6, atol=1e-6)
    left = {name for name in before.model.state_dict() if QUERY not in name and FC1 not in name}
    for name in left:
        assert torch.equal(before.model.state_dict()[name], after.model.state_dict()[name]), name


@pytest.mark.parametrize(
    "prefix", ["vision_tower.vision_model.", "model.vision_tower.", "model.vision_model.", "visual.", ""]
)
@pytest.mark.parametrize("old", [False, True])
def test_what_is_the_language_models_is_passed_over(
    prefix: str, old: bool, folder: Path, tmp_path: Path
) -> None:
    held = tensors(f"base_model.model.{prefix}")
    if prefix:
        held |= matrices(LANGUAGE, 64, 64) | matrices("base_model.model.text_model.encoder.layers.1.x", 2, 2)
        held |= matrices(f"base_model.model.text_model.{QUERY}", 32, 32)
    if old:
        held = {name.replace(".weight", ".default.weight"): tensor for name, tensor in held.items()}
    lora = adapter(tmp_path / "lora", held)
    plain = tmp_path / "plain"
    want = weight(merged(folder, adapter(plain, tensors())), QUERY)
    assert torch.equal(weight(merged(folder, lora), QUERY), want)


def test_convolutions_embeddings_biases_and_whole_modules(folder: Path, tmp_path: Path) -> None:
    root, patches, table = "base_model.model.", "embeddings.patch_embedding", "embeddings.position_embedding"
    held = {
        f"{root}{patches}.lora_A.weight": torch.randn(RANK, 3, 8, 8),
        f"{root}{patches}.lora_B.weight": torch.randn(32, RANK, 1, 1),
        f"{root}{table}.lora_embedding_A": torch.randn(RANK, 17),
        f"{root}{table}.lora_embedding_B": torch.randn(32, RANK),
        f"{root}{QUERY}.base_layer.bias": torch.randn(32),
        f"{root}{FC1}.bias": torch.randn(48),
        f"{root}pre_layrnorm.modules_to_save.weight": torch.randn(32),
        f"{root}pre_layrnorm.bias": torch.randn(32),
    }
    before, after = load(folder), merged(folder, adapter(tmp_path / "lora", held))
    a, b = held[f"{root}{patches}.lora_A.weight"], held[f"{root}{patches}.lora_B.weight"]
    change = torch.einsum("or,rchw->ochw", b[:, :, 0, 0], a) * 3
    torch.testing.assert_close(weight(after, patches), weight(before, patches) + change, rtol=1e-6, atol=1e-5)
    a, b = held[f"{root}{table}.lora_embedding_A"], held[f"{root}{table}.lora_embedding_B"]
    torch.testing.assert_close(
        weight(after, table), weight(before, table) + (b @ a).T * 3, rtol=1e-6, atol=1e-5
    )
    assert torch.equal(after.model.get_submodule(QUERY).bias, held[f"{root}{QUERY}.base_layer.bias"])
    assert torch.equal(after.model.get_submodule(FC1).bias, held[f"{root}{FC1}.bias"])
    assert torch.equal(weight(after, "pre_layrnorm"), held[f"{root}pre_layrnorm.modules_to_save.weight"])
    assert torch.equal(after.model.pre_layrnorm.bias, held[f"{root}pre_layrnorm.bias"])


def test_what_is_not_built_is_not_merged(folder: Path, tmp_path: Path) -> None:
    held = tensors() | matrices("base_model.model.encoder.layers.3.self_attn.q_proj", 32, 32)
    held |= {"base_model.model.post_layernorm.weight": torch.full((32,), torch.nan)}
    lora = adapter(tmp_path / "lora", held)
    merged(folder, lora)
    with pytest.raises(WeightsError, match=r"post_layernorm\.weight holds NaN"):
        merged(folder, lora, post_norm="last", select_layers=[-1])
    held["base_model.model.encoder.layers.4.self_attn.q_proj.lora_A.weight"] = torch.ones(2, 32)
    with pytest.raises(
        WeightsError, match=r"layers\.4\.self_attn\.q_proj\.lora_A\.weight' is not understood"
    ):
        merged(folder, adapter(tmp_path / "lora", held))


def without(tensors: Tensors, ending: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(ending)}


A = f"base_model.model.{QUERY}.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        (dict, {"peft_type": "IA3"}, r"is an adapter of type 'IA3', and not LORA; merge it with peft"),
        (dict, {"peft_type": None}, r"is an adapter of type None"),
        (dict, {"use_dora": True}, r"sets 'use_dora', more than LoRA; merge it with peft"),
        (dict, {"fan_in_fan_out": True}, r"sets 'fan_in_fan_out', more than LoRA"),
        (dict, {"next_years_key": {"a": 1}}, r"sets 'next_years_key', more than LoRA"),
        (dict, {"init_lora_weights": "pissa_niter_4"}, r"init_lora_weights 'pissa_niter_4' changed the base"),
        (dict, {"rank_pattern": {"(a+)+$": 2}}, r"its pattern '\(a\+\)\+\$' is no module's name"),
        (dict, {"alpha_pattern": {".*": 2}}, r"its pattern '\.\*' is no module's name"),
        (dict, {"r": 0}, r"adapter_config\.json: r: Input should be greater"),
        (dict, {"r": "2"}, r"adapter_config\.json: r: Input should be a valid integer"),
        (dict, {"lora_alpha": 1e400}, r"adapter_config\.json: lora_alpha: "),
        (dict, {"r": 3}, r"lora_A\.weight' has shape \(2, 32\), and a rank of 3 makes it \(3, 32\) here"),
        (lambda t: without(t, "q_proj.lora_B.weight"), {}, rf"of '{QUERY}', only lora_A is there"),
        (lambda t: t | {A: torch.ones(2, 31)}, {}, r"has shape \(2, 31\), and a rank of 2 makes it \(2,"),
        (lambda t: t | {A: torch.full((2, 32), torch.inf)}, {}, r"lora_A\.weight holds NaN or infinity"),
        (lambda t: t | {A: torch.ones(2, 32, dtype=torch.int8)}, {}, r"lora_A\.weight is torch\.int8; q"),
        (lambda t: {n: x * 1e30 for n, x in t.items()}, {}, r"what is merged into '.*' is not finite"),
        (
            lambda t: t | {f"base_model.model.{QUERY}.lora_magnitude_vector": torch.ones(32)}, {},
            r"lora_magnitude_vector' is not understood; merge it with peft",
        ),
        (lambda t: t | {"base_model.model.logit_scale": torch.ones(1)}, {}, r"logit_scale' is not"),
        (
            lambda t: t | {"base_model.model.pre_layrnorm.weight": torch.ones(31)}, {},
            r"pre_layrnorm\.weight' has shape \(31,\), and this tower's is \(32,\)",
        ),
        (lambda t: matrices(LANGUAGE, 2, 2), {}, r"holds nothing of this tower: of its 2 tensors, one is"),
        (lambda t: {}, {}, r"holds nothing of this tower: of its 0 tensors"),
        (lambda t: tensors("a.left.") | tensors("a.right."), {}, r"several towers, under 'a\.left\.', 'a"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused(
    change: Callable[[Tensors], Tensors], keys: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    lora = adapter(tmp_path / "lora", change(tensors()), **keys)
    with pytest.raises(WeightsError, match=message) as raised:
        merged(folder, lora)
    assert "\n" not in str(raised.value)


def test_of_several_towers_it_is_the_one_of_the_prefix(folder: Path, tmp_path: Path) -> None:
    rewrite(
        folder, lambda t: {f"{side}.{name}": x.clone() for side in ("left", "right") for name, x in t.items()}
    )
    held = {**tensors("base_model.model.left."), **{n: 2 * t for n, t in tensors("a.right.").items()}}
    lora = adapter(tmp_path / "lora", held)
    before = weight(load(folder, weights={"prefix": "right"}), QUERY)
    for side, times in (("left", 3), ("right", 12)):
        after = weight(merged(folder, lora, weights={"prefix": side}), QUERY)
        expected = before + product(tensors(), QUERY) * times
        torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)


def test_names_that_transformers_had_before(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["vit"]
    folder = tiny.save(tiny.reference(encoder), tmp_path / "vit")
    module = "encoder.layer.1.attention.attention.query"
    held = matrices(f"base_model.model.vit.{module}", 32, 32)
    before, after = (
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder), **more}})
        for more in ({}, {"adapter": str(adapter(tmp_path / "lora", held))})
    )
    change = weight(after, "layers.1.attention.q_proj") - weight(before, "layers.1.attention.q_proj")
    torch.testing.assert_close(change, product(held, module) * 3, rtol=1e-5, atol=1e-5)


def test_an_adapter_that_no_one_asked_for_is_named(folder: Path, tmp_path: Path) -> None:
    adapter(folder, tensors(), base_model_name_or_path="openai/clip")
    with pytest.raises(
        WeightsError, match=r"has an adapter beside its weights .*: name the same as weights\.ad"
    ):
        load(folder)
    plain = load(folder / "model.safetensors")
    assert not torch.equal(features(merged(folder, folder)), features(plain))
    (folder / "model.safetensors").unlink()
    for weights in ({}, {"adapter": str(folder)}):
        with pytest.raises(
            WeightsError, match=r"an adapter without its base model: name that, which is 'openai/c"
        ):
            load(folder, weights=weights)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ("./nowhere", r"no such folder; weights\.adapter is the folder of an adapter"),
        ("./empty", r"no adapter: it has no adapter_config\.json"),
        ("./pickled", r"no adapter_model\.safetensors in this adapter; pickles of adapters are not read"),
    ],
)
def test_where_there_is_none(
    lora: str, message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (adapter(tmp_path / "pickled", tensors()) / "adapter_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=message):
        load(folder, weights={"adapter": lora})


def test_a_path_is_relative_to_the_config_and_needs_a_source(folder: Path, tmp_path: Path) -> None:
    adapter(tmp_path / "lora", tensors())
    text = (
        "schema: 1\nencoder: {model_type: clip_vision_model}\nweights: {source: ./tower, adapter: ./lora}\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    fields = ["=".join(("encoder." + key, str(value))) for key, value in ENCODER.items()]
    tower = compose(tmp_path / "x.yaml", overrides=fields)
    assert tower.config.weights.adapter == str(tmp_path / "lora")
    tower.save(tmp_path / "saved")
    assert compose(tmp_path / "saved").config.weights.adapter is None
    assert torch.equal(weight(compose(tmp_path / "saved"), QUERY), weight(tower, QUERY))
    for bad in (
        {"adapter": "./lora"},
        {"source": "a/b", "adapter": "https://x/y"},
        {"source": "a/b", "adapter": ""},
    ):
        with pytest.raises(ConfigError, match=r"weights\.adapter"):
            compose({"schema": 1, "encoder": ENCODER, "weights": bad})


@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "bias": "all", "alpha_pattern": {"q_proj": 3}}])
@pytest.mark.parametrize("name", ["clip_vision_model", "siglip_vision_model", "vit"])
def test_it_is_what_peft_makes_of_it(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not needed to run, only to be compared with")
    encoder = tiny.ENCODERS[name]
    model = tiny.reference(encoder)
    folder = tiny.save(model, tmp_path / "base")
    config = peft.LoraConfig(
        r=3, target_modules=r".*(q_proj|fc1|patch_embedding)", modules_to_save=["post_layernorm"], **options
    )
    wrapped = peft.get_peft_model(model, config)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    wrapped.save_pretrained(tmp_path / "lora")
    whole = wrapped.merge_and_unload().state_dict()
    tower = compose(
        {
            "schema": 1,
            "encoder": encoder,
            "weights": {"source": str(folder), "adapter": str(tmp_path / "lora")},
            "select_layers": [-1],
            "post_norm": "last",
        }
    )
    for key, value in tower.model.state_dict().items():
        if "lora" not in key:
            torch.testing.assert_close(value, whole[key], rtol=1e-5, atol=1e-5, msg=key)


def test_an_adapter_of_the_connector_is_refused_where_the_connector_is_built(
    folder: Path, tmp_path: Path
) -> None:
    sizes = {"linear_1": (24, 32), "linear_2": (24, 24)}
    projector = {f"multi_modal_projector.{name}.weight": torch.ones(size) for name, size in sizes.items()}
    projector |= {f"multi_modal_projector.{name}.bias": torch.ones(24) for name in sizes}
    rewrite(folder, lambda t: {f"vision_tower.{name}": x for name, x in t.items()} | projector)
    held = tensors("base_model.model.model.vision_tower.")
    keys = {"connector": {"type": "llava", "hidden_size": 24}, "output": "embeds"}
    merged(folder, adapter(tmp_path / "lora", held), **keys)
    held |= matrices("base_model.model.model.multi_modal_projector.linear_1", 24, 32)
    lora = adapter(tmp_path / "lora", held)
    merged(folder, lora)
    with pytest.raises(WeightsError, match=r"changes the connector, too \(tensor '.*linear_1\.lora_A"):
        merged(folder, lora, **keys)


COMMITS = {"main": "0" * 40, "v2": "1" * 40}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Publishes an adapter at both commits of someone/lora in a hub's cache; the client is offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / "hub/models--someone--lora"
    for name, commit in COMMITS.items():
        (root / "snapshots" / commit).mkdir(parents=True)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / name).write_text(commit)

    def publish(**held: Tensors) -> None:
        for name, tensors in held.items():
            adapter(root / "snapshots" / COMMITS[name], tensors)

    return publish


@pytest.mark.parametrize("by_commit", [False, True])
def test_a_revision_of_a_hub_id_is_read(
    by_commit: bool, hub: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    published = {"main": tensors(), "v2": {name: 2 * tensor for name, tensor in tensors().items()}}
    hub(**published)
    found = {}
    for name, held in published.items():
        keys = {"adapter_revision": COMMITS[name] if by_commit else name}
        if not by_commit and name == "main":
            keys = {}  # the hub's default
        found[name] = weight(load(folder, weights={"adapter": "someone/lora", **keys}), QUERY)
        expected = weight(merged(folder, adapter(tmp_path / name, held)), QUERY)
        assert torch.equal(found[name], expected), name
    assert not torch.equal(*found.values())
    with pytest.raises(WeightsError, match="someone/lora"):
        load(folder, weights={"adapter": "someone/lora", "adapter_revision": "v3"})


def test_the_connector_asks_the_same_revision(hub: Callable[..., None], folder: Path) -> None:
    projector = {"multi_modal_projector.linear_1.weight": torch.ones(24, 32)}
    projector |= {"multi_modal_projector.linear_2.weight": torch.ones(24, 24)}
    projector |= {f"multi_modal_projector.linear_{i}.bias": torch.ones(24) for i in (1, 2)}
    rewrite(folder, lambda t: {f"vision_tower.{name}": x for name, x in t.items()} | projector)
    held = tensors("base_model.model.model.vision_tower.")
    hub(main=held, v2=held | matrices("base_model.model.model.multi_modal_projector.linear_1", 24, 32))
    keys = {"connector": {"type": "llava", "hidden_size": 24}, "output": "embeds"}
    load(folder, weights={"adapter": "someone/lora"}, **keys)
    with pytest.raises(WeightsError, match="someone/lora: changes the connector, too"):
        load(folder, weights={"adapter": "someone/lora", "adapter_revision": "v2"}, **keys)


def test_a_saved_tower_names_no_revision_of_an_adapter(
    hub: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    hub(main=tensors(), v2=tensors())
    tower = load(folder, weights={"adapter": "someone/lora", "adapter_revision": "v2"})
    tower.save(tmp_path / "saved")
    assert compose(tmp_path / "saved").config.weights.adapter_revision is None
