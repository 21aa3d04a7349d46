"""Registries: what is offered, when it is imported, what is refused and who is named for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from support.compare import assert_close
from typer.testing import CliRunner

from vision_composer import compose, load_config, load_plugin, register_attention_backend, register_encoder
from vision_composer import registry as registry_module
from vision_composer.cli import app
from vision_composer.encoders import family_of, get_vision_encoder_info
from vision_composer.encoders.clip import CLIP
from vision_composer.errors import ConfigError, InputError, PluginError
from vision_composer.schemas import ATTENTION_BACKEND_PLUGINS, ENCODER_PLUGINS, FEATURE_SELECTOR_PLUGINS
from vision_composer.schemas.encoders.clip import CLIPVisionEncoderConfig
from vision_composer.tower.selection import get_vision_feature_selector, register_feature_selector

CLIP_KEYS = {"schema": 1, "encoder": {"model_type": "clip_vision_model"}}
REGISTRIES = (ENCODER_PLUGINS, FEATURE_SELECTOR_PLUGINS, ATTENTION_BACKEND_PLUGINS)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the process as it was: registrations, the list of entry points, sys.path, imported plugins."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_things", {})
        monkeypatch.setattr(registry, "_origins", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    registry_module._installed.cache_clear()
    yield
    registry_module._installed.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith("plug_"):
            del sys.modules[name]


class Site:
    """A folder on sys.path to lay distributions in, by hand: metadata is all that discovery reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, entry_points: str, **modules: str) -> None:
        info = self.path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, code in modules.items():
            (self.path / f"{module}.py").write_text(code)
        assert any(found.name == name for found in distributions())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path)


def selector(name: str, value: str) -> str:
    return f"[vision_composer.feature_selectors]\n{name} = {value}\n"


def encoder(name: str, value: str) -> str:
    return f"[vision_composer.encoders]\n{name} = {value}\n"


def with_strategy(name: str) -> Any:
    return load_config({**CLIP_KEYS, "feature_select_strategy": name})


# --- entry points -------------------------------------------------------------------------------------


def test_a_selector_is_imported_only_when_it_runs(site: Site) -> None:
    site.add("acme", selector("acme.first", "plug_a:first"), plug_a="def first(x): return x[:, :3]")
    assert with_strategy("acme.first").feature_select_strategy == "acme.first"
    assert "plug_a" not in sys.modules
    assert get_vision_feature_selector("acme.first")(torch.zeros(2, 9, 4)).shape == (2, 3, 4)


def test_built_in_configs_never_list_entry_points() -> None:
    code = (
        "from vision_composer import load_config, registry\n"
        "load_config('llava-1.5-7b', overrides=['attn_backend=sdpa', 'feature_select_strategy=class'])\n"
        "assert not registry._installed.cache_info().currsize"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_compared_with_what_plugins_offer(site: Site) -> None:
    site.add("acme", selector("acme.first", "plug_a:first"))
    with pytest.raises(ConfigError, match=r"did you mean 'acme\.first'"):
        with_strategy("acme.frist")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import plug_that_is_not_there", "ModuleNotFoundError: No module named 'plug_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def second(x): pass", "AttributeError: module 'plug_a' has no attribute 'first'"),
        ("def first(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(site: Site, code: str, reason: str) -> None:
    site.add("acme", selector("acme.first", "plug_a:first"), plug_a=code)
    with pytest.raises(PluginError, match=reason) as caught:
        get_vision_feature_selector("acme.first")
    where = "acme 1.2 (vision_composer.feature_selectors: acme.first = plug_a:first) cannot be imported"
    assert str(caught.value).startswith(where)


FAMILY = """
from typing import Literal
from vision_composer.encoders.clip import CLIP
from vision_composer.schemas import GenericEncoderConfig
from vision_composer.schemas.encoders.clip import CLIPVisionEncoderConfig

class Config(CLIPVisionEncoderConfig):
    model_type: Literal["acme_vit"]

class Generic(GenericEncoderConfig):
    model_type: Literal["acme_vit"]

class Other(CLIPVisionEncoderConfig):
    model_type: Literal["other_vit"]

class Family(CLIP):
    model_type = "acme_vit"

class Unnamed(CLIP):
    pass
"""
ACME = {"schema": 1, "encoder": {"model_type": "acme_vit"}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Family", "expected two classes"),
        ("(Config,)", "expected two classes"),
        ("(Config, Family())", "expected two classes"),
        ("(Family, Config)", "Family is not a subclass of vision_composer.schemas.EncoderConfig"),
        ("(Generic, Family)", "Generic is a config of the generic adapter"),
        ("(Other, Family)", 'Other must declare model_type: Literal["acme_vit"]'),
        ("(CLIPVisionEncoderConfig, Family)", "must declare model_type"),
    ],
)
def test_an_encoder_of_the_wrong_type_is_named_at_validation(site: Site, value: str, reason: str) -> None:
    site.add("acme", encoder("acme_vit", "plug_a:it"), plug_a=f"{FAMILY}\nit = {value}")
    with pytest.raises(PluginError) as caught:
        load_config(ACME)
    assert reason in str(caught.value)
    assert "acme 1.2 (vision_composer.encoders: acme_vit = plug_a:it)" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"), [("dict", "not a subclass"), ("Unnamed", "must declare model_type")]
)
def test_a_family_of_the_wrong_type_is_named_when_planned(site: Site, value: str, reason: str) -> None:
    site.add("acme", encoder("acme_vit", "plug_a:it"), plug_a=f"{FAMILY}\nit = (Config, {value})")
    config = load_config(ACME)
    with pytest.raises(PluginError, match=reason) as caught:
        family_of(config.encoder)
    assert "acme 1.2 (vision_composer.encoders: acme_vit = plug_a:it)" in str(caught.value)


def test_a_function_of_the_wrong_type_is_named(site: Site) -> None:
    site.add("acme", selector("acme.first", "plug_a:first"), plug_a="first = 3")
    with pytest.raises(PluginError, match=r"'acme\.first' of acme 1\.2 .*expected a function, not 3"):
        get_vision_feature_selector("acme.first")


@pytest.mark.parametrize("taken", ["full", "acme.first", "called"])
def test_a_name_that_two_claim_is_an_error_that_names_both(site: Site, taken: str) -> None:
    register_feature_selector("called", lambda features: features)
    site.add("acme", selector("acme.first", "plug_a:first"), plug_a="def first(x): return x")
    site.add("other", selector(taken, "plug_b:it"))
    rival = {"full": "built in", "acme.first": "acme 1.2 (vision_composer", "called": "Python call"}[taken]
    with pytest.raises(PluginError) as caught:
        with_strategy("acme.first")
    assert f"feature selector {taken!r} is claimed twice: {rival}" in str(caught.value)
    assert f"other 1.2 (vision_composer.feature_selectors: {taken} = plug_b:it)" in str(caught.value)


def test_plugins_lists_what_works_and_names_what_does_not(site: Site) -> None:
    site.add("acme", selector("acme.first", "plug_a:first"), plug_a="def first(x): return x")
    site.add("broken", encoder("acme_vit", "plug_b:it"), plug_b="1 / 0")
    result = CliRunner().invoke(app, ["plugins"])
    assert result.exit_code == 1
    assert str(site.path / "plug_a.py") in result.stdout
    assert "broken 1.2 (vision_composer.encoders: acme_vit = plug_b:it) cannot be imported" in result.stderr


def test_a_broken_plugin_ends_a_command_with_its_name(site: Site, tmp_path: Path) -> None:
    site.add("broken", encoder("acme_vit", "plug_b:it"), plug_b="1 / 0")
    (tmp_path / "a.yaml").write_text("schema: 1\nencoder: {model_type: acme_vit}\n")
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "a.yaml")])
    assert isinstance(result.exception, PluginError)
    assert "broken 1.2" in str(result.exception)


# --- --plugin and Python calls ------------------------------------------------------------------------

REGISTERS = FAMILY + "\nfrom vision_composer import register_encoder\nregister_encoder(Config, Family)\n"


def test_the_plugin_option_imports_a_module_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plug_c.py").write_text(REGISTERS)
    Path("a.yaml").write_text("schema: 1\nencoder: {model_type: acme_vit}\n")
    for arguments in (["validate", "a.yaml"], ["plan", "a.yaml"]):
        result = CliRunner().invoke(app, [*arguments, "--plugin", "plug_c"])
        assert result.exit_code == 0, result.output
    listed = CliRunner().invoke(app, ["plugins"])
    (line,) = [line for line in listed.stdout.splitlines() if "acme_vit" in line]
    assert "--plugin plug_c" in line
    assert line.endswith("plug_c.py")


@pytest.mark.parametrize(
    "arguments", [["validate", "."], ["plan", "tiny-digits"], ["encode", "tiny-digits", ".", "-o", "x"]]
)
def test_a_module_that_is_not_there_is_wrong_usage(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--plugin", "plug_nowhere"])
    assert result.exit_code == 2
    assert "--plugin plug_nowhere cannot be imported: ModuleNotFoundError" in result.stderr


def test_a_module_that_takes_a_name_is_an_error_that_names_both(site: Site) -> None:
    register_feature_selector("called", lambda features: features)
    (site.path / "plug_d.py").write_text(
        "from vision_composer import register_feature_selector\nregister_feature_selector('called', len)"
    )
    with pytest.raises(PluginError, match=r"--plugin plug_d .*'called' is already registered: Python call"):
        load_plugin("plug_d")


class TwinConfig(CLIPVisionEncoderConfig):
    model_type: Literal["twin"]  # type: ignore[assignment]


class Twin(CLIP):
    model_type = "twin"


def test_register_encoder() -> None:
    with pytest.raises(ConfigError, match="unknown model_type 'twin'"):
        load_config({"schema": 1, "encoder": {"model_type": "twin"}})
    register_encoder(TwinConfig, Twin)
    config = load_config({"schema": 1, "encoder": {"model_type": "twin", "hidden_size": 96}})
    assert isinstance(family_of(config.encoder), Twin)
    assert get_vision_encoder_info({"model_type": "twin", "hidden_size": 96}).hidden_size == 96
    with pytest.raises(InputError, match="'twin' is already registered: Python call"):
        register_encoder(TwinConfig, Twin)


@pytest.mark.parametrize(
    ("config_class", "family", "reason"),
    [
        (CLIPVisionEncoderConfig, CLIP, "'clip_vision_model' is already registered: built in"),
        (CLIPVisionEncoderConfig, Twin, "must declare model_type"),
        (dict, Twin, "not a subclass"),
        (TwinConfig, dict, "has no model_type"),
        (TwinConfig, Twin(), "not a subclass"),
    ],
)
def test_register_encoder_refuses(config_class: Any, family: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        register_encoder(config_class, family)


@pytest.mark.parametrize(
    "encoder",
    [{"model_type": "dinov2"}, {"model_type": "vit", "prefix_tokens": 1}],
    ids=["family", "generic"],
)
def test_register_attention_backend(encoder: dict[str, Any]) -> None:
    calls = []

    def doubled(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **_: Any
    ) -> Any:
        assert attention_mask is None
        calls.append(query.shape)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scaling)
        return out.transpose(1, 2).contiguous(), None

    register_attention_backend("acme.doubled", doubled)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28}
    keys = {"schema": 1, "encoder": {**encoder, **sizes, "patch_size": 14}, "select_layers": [-1]}
    torch.manual_seed(0)
    ours = compose({**keys, "attn_backend": "acme.doubled"})
    torch.manual_seed(0)
    theirs = compose({**keys, "attn_backend": "sdpa"})
    calls.clear()  # the generic adapter tries a model out when it builds it
    pixel_values = torch.randn(1, 3, 28, 28)
    assert ours.attention.implementation == "acme.doubled"
    assert_close(ours(pixel_values=pixel_values), theirs(pixel_values=pixel_values))
    assert calls == [(1, 4, 5, 8)] * 2


@pytest.mark.parametrize("name", ["sdpa", "auto", "acme/kernel", "acme_flash", ""])
def test_attention_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError):
        register_attention_backend(name, lambda *_: None)


@pytest.mark.parametrize("name", ["", 3, None])
def test_names_that_cannot_be(name: Any) -> None:
    with pytest.raises(InputError, match="must be a string that is not empty"):
        register_feature_selector(name, lambda features: features)
