"""A plan as rows of a table, for people to read. Loads no torch."""

from __future__ import annotations

from typing import Any

from ..schemas import TrainingConfig
from ..schemas.yaml.dump import inline

_LONGEST_VALUE = 120
_UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def plan_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a plan's facts as rows of a table: a label, which is empty where it is that above, and a text.

    Args:
        facts: What ``to_dict`` of the plan returned; a tower's may have ``attention`` beside them.
    """
    unset = TrainingConfig().model_dump(mode="json")
    output = ("output", f"{facts['output_layout']} of width {facts['output_width']}, {facts['dtype']}")
    if "towers" in facts:
        rows = [*_towers(facts), output, *_vision_half(facts)]
    else:
        tower, rest = _tower(facts)
        rows = [*tower, output, *_vision_half(facts), *rest]
    if facts["parallel"] != "none":
        rows.append(("parallel", inline(facts["parallel"])))
    if facts.get("training", unset) != unset:
        rows.append(("training", inline(facts["training"])))
    if facts["num_parameters"] is not None:
        size = f"{_short(facts['num_parameters'])} in {facts['num_checkpoint_tensors']} tensors"
        quantised = "" if facts["quantize"] == "none" else f", quantised to {facts['quantize']}"
        rows.append(("parameters", f"{size}, {_short(facts['num_bytes'])}B{quantised}"))
    for image in facts["images"]:
        flops = "" if image["flops"] is None else f", {_short(image['flops'])}FLOP"
        rows.append((f"{image['width']}x{image['height']}", f"{image['num_tokens']} tokens{flops}"))
    return rows


def _tower(facts: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is read off a tower, and what it is run with."""
    depth, blocks = facts["num_hidden_layers"], facts["num_blocks"]
    norms = facts["norm_layers"]
    read = [
        ("encoder", facts["model_type"] + (" (generic adapter)" if facts["adapter"] == "generic" else "")),
        ("blocks", f"{blocks} built of {depth}"),
        ("hidden states", ", ".join(map(str, facts["select_layers"]))),
        ("post-norm", f"on {', '.join(map(str, norms))}" if norms else "none"),
        ("tokens kept", "the pooling head's" if facts["head"] else facts["feature_select_strategy"]),
    ]
    rest = [
        *_attention(facts),
        ("weights", facts["weights"] or "none: random initialisation"),
        *_image_processor(facts["image_processor"]),
    ]
    return read, rest


def _towers(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Every tower, and how their tokens are joined."""
    rows = []
    for name, tower in facts["towers"].items():
        read, rest = _tower(tower)
        width = f"{tower['output_width']} features per token"
        rows += [("tower", f"{name}: {width}"), *((f"  {label}", text) for label, text in (*read, *rest))]
    rows.append(("input", inline(facts["input"])))
    if facts["image_processor"] is not None:
        rows += _image_processor(facts["image_processor"])
    rows.append(("align", inline(facts["align"])))
    if facts["project"]:
        rows.append(("project", inline(facts["project"])))
    return [*rows, ("fuse", facts["fuse"])]


def _vision_half(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """How images are cut, and what stands behind the tower; nothing for the features of images whole."""
    behind = [("reduce", inline(facts["reduce"]))] if facts.get("reduce") else []
    if facts["output"] == "features":
        return behind
    rows = [("tiling", facts["tiling"])] if "tiling" in facts else []
    if facts["output"] != "embeds":
        return rows
    if facts["connector"] is None:
        return [*rows, ("connector", "none: the tower's own output is read"), *behind]
    weights = facts["connector_weights"]
    where = f"weights from {weights}" if weights else "random initialisation"
    return [*rows, ("connector", f"{facts['connector']}, {where}"), *behind]


def _image_processor(processor: dict[str, Any]) -> list[tuple[str, str]]:
    """The class, and a row for every place from which values came; a class's many defaults come last."""
    origin, values = processor["origin"], processor["values"]
    rows = [("image processor", f"{processor['type']}, from {_place(origin['type'])}")]
    places = dict.fromkeys(where for key, where in origin.items() if key != "type")
    for place in sorted(places, key=lambda where: where == "class"):
        those = {key: value for key, value in values.items() if origin.get(key) == place}
        short = {key: value for key, value in those.items() if len(str(value)) <= _LONGEST_VALUE}
        more = f" and {', '.join(those.keys() - short.keys())}" if len(short) < len(those) else ""
        rows.append(("", f"from {_place(place)}: {inline(short)}{more}"))
    return rows


def _place(where: str) -> str:
    return {"config": "the config", "encoder": "the encoder", "class": "its class"}.get(where, where)


def _attention(facts: dict[str, Any]) -> list[tuple[str, str]]:
    choice = facts.get("attention")
    if choice is None:
        asked = facts["attn_backend"]
        return [("attention", "the best that works on the device" if asked == "auto" else asked)]
    rows = [("attention", f"{choice['backend']} on {choice['device']}: {choice['reason']}")]
    if choice["note"]:
        rows.append(("", choice["note"]))
    return rows + [("", f"not {name}: {reason}") for name, reason in choice["passed_over"].items()]


def _short(number: float) -> str:
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.2f} {letter}"
    return f"{number:g} "
