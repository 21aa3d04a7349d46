"""The page of the Python interface: the public names and their docstrings, by Sphinx's autodoc."""

from __future__ import annotations

import inspect
from typing import Any

import vision_composer
from vision_composer import errors

_HEAD = """# Python

```python
import vision_composer
```

Every public name of `vision_composer`, with its docstring. Importing the package is fast, and a name is loaded on first
use; `load_config`, `plan` and `validate` never load torch. What plugins and tests import from its modules is on the page
of [plugins](../plugins.md).

"""  # noqa: E501  # lines of a page
_GROUPS = {
    "From a config to an encoder": ("compose", "plan", "load_config", "config_from", "validate"),
    "Encoders": ("VisionEncoder", "ComposedVisionEncoder", "FusedVisionEncoder", "Batcher"),
    "Configs and plans": (
        "VisionEncoderBuilder",
        "TowerConfig",
        "FusedConfig",
        "Plan",
        "FusedPlan",
        "VisionEncoderInfo",
        "get_vision_encoder_info",
        "VisionLanguageConfig",
    ),
    "Data sets and files": ("encode_dataset", "read_features", "register_pooler", "export_encoder"),
    "Language models": (
        "build_vlm",
        "register_transformers",
        "mrope_position_ids",
        "get_llm_pos_ids_for_vision",
    ),
    "Layers and tokens": (
        "resolve_visual_encoder_outputs",
        "get_num_selected_vision_tokens",
        "VisionFeatureSelectStrategy",
        "VisionFeatureSelectStrategyStr",
    ),
    "Several processes": (
        "run_dp_sharded_vision_model",
        "run_dp_sharded_mrope_vision_model",
        "get_load_balance_assignment",
    ),
    "Plugins": ("register_encoder", "register_feature_selector", "register_attention_backend", "load_plugin"),
    "On the hardware": ("AttentionBackend", "get_vit_attn_backend", "should_torch_compile_mm_vit"),
}
_ALIASES = {
    "VisionFeatureSelectStrategy": "A strategy by its name, or a function from features to features, both "
    "(images, tokens, width).",
    "VisionFeatureSelectStrategyStr": 'The names of the strategies: `"class"`, `"default"`, `"full"`.',
}
"""Names of types, which have no docstring of their own."""


def page() -> str:
    """The text of ``reference/python.md``. A name that no group has stands under the last heading."""
    grouped = {name for names in _GROUPS.values() for name in names}
    rest = [
        name
        for name in vision_composer.__all__
        if name not in grouped | {"VisionComposerError", "__version__"}
    ]
    text = _HEAD
    for heading, names in (_GROUPS | ({"Others": tuple(rest)} if rest else {})).items():
        text += f"## {heading}\n\n" + "".join(map(_entry, names))
    text += "## Errors\n\nAll of them are in `vision_composer.errors`.\n\n"
    raised = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__ and not name.startswith("_")
    ]
    return text + "".join(
        _directive("autoexception", f"vision_composer.errors.{name}", "") for name in raised
    )


def _entry(name: str) -> str:
    value: Any = getattr(vision_composer, name)
    if name in _ALIASES:
        return f"### `{name}`\n\n{_ALIASES[name]}\n\n"
    target = f"vision_composer.{name}"
    if not inspect.isclass(value):
        body = _directive("autofunction", target, "")
    elif hasattr(value, "model_fields"):  # its fields are the keys of a config, which have a page
        body = _directive("autoclass", target, ":no-members:") + "Its fields are [the keys](keys.md).\n\n"
    else:
        body = _directive("autoclass", target, ":members:\n:inherited-members: Module, Enum, Protocol")
    return f"### `{name}`\n\n{body}"


def _directive(kind: str, target: str, options: str) -> str:
    lines = [f".. {kind}:: {target}", *(f"   {option}" for option in options.splitlines())]
    return "```{eval-rst}\n" + "\n".join(lines) + "\n```\n\n"
