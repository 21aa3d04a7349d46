"""The module of a plugin with an encoder's config block and its family, as Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from textwrap import wrap

from ..encoders import Shapes
from .reading import Encoder

TODO = "TODO: "
"""Before what is left to do."""
_WIDTH = 84
_SHOWN = 2
_HELPERS = ("conv_patches", "layer_norm", "linear", "num_positions")
_WIDE = "encoder.hidden_size"
_RUN = "for two images of 42x42 pixels in patches of 7x7"


def family_module(encoder: Encoder, path: str, model_type: str) -> str:
    """Return the module.

    Args:
        encoder: What is known of the encoder.
        path: The module's file, for what it says is left to do.
        model_type: What configs call the encoder.
    """
    return _Module(encoder, path, model_type).text()


class _Module:
    def __init__(self, encoder: Encoder, path: str, model_type: str) -> None:
        self.encoder = encoder
        self.path = path
        self.model_type = model_type
        self.model = encoder.classes.model.__name__
        self.config = encoder.classes.config.__name__
        self.block = f"{self.config.removesuffix('Config')}EncoderConfig"
        self.family = f"{self.config.removesuffix('Config')}Family"
        self.of_encoder = f"encoder: {self.block}"

    def text(self) -> str:
        classes = "\n".join([*self._block(), "", "", *self._family()])
        helpers = [name for name in _HELPERS if f"{name}(" in classes]
        typing = ["TYPE_CHECKING", "Any", *(["ClassVar"] if "ClassVar[" in classes else []), "Literal"]
        lines = [
            f'"""{self.model} of transformers for vision-composer. Importing this loads no torch."""',
            "",
            "from __future__ import annotations",
            "",
            f"from typing import {', '.join(typing)}",
            "",
            "from vision_composer.encoders import DenseFamily, Shapes",
            *([f"from vision_composer.encoders.shapes import {', '.join(helpers)}"] if helpers else []),
            "from vision_composer.schemas import DenseEncoderConfig",
            *(
                ["from vision_composer.schemas.encoders.base import SquareSize"]
                if ": SquareSize" in classes
                else []
            ),
            "",
            "if TYPE_CHECKING:",
            "    from torch import Tensor",
            "",
            "",
            classes,
            "",
            "",
            f"ENCODER = ({self.block}, {self.family})",
        ]
        return "\n".join(lines) + "\n"

    # --- the config block -----------------------------------------------------------------------------

    def _block(self) -> Iterator[str]:
        keys, observed = self.encoder.keys, self.encoder.observed
        yield f"class {self.block}(DenseEncoderConfig):"
        yield f'    """The keys of the ``encoder`` block, named and with defaults as in {self.config}."""'
        yield ""
        if keys.inert:
            yield "    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {"
            yield from (f'        "{name}",' for name in keys.inert)
            yield "    }"
            yield f'    """{self.model} never reads these."""'
            yield ""
        yield f'    model_type: Literal["{self.model_type}"]'
        for key in keys.own:
            yield f"    {key.name}: {key.type} = {_literal(key.default)}"
        for name, default in keys.left_out.items():
            yield from _comment(
                f"{name}, by default {default!r}: {self.model} reads it, and no key here says it yet. "
                "Add one with its type, or leave it out if it changes nothing that comes out."
            )
        yield ""
        yield from self._property("num_prefix_tokens", "int", self._prefix())
        if not observed.post_norm:
            yield ""
            yield from self._property("has_post_norm", "bool", ["return False"])
        if observed.head:
            yield ""
            yield from self._property("has_head", "bool", ["return True"])

    def _prefix(self) -> list[str]:
        if self.encoder.prefix is not None:
            return [f"return {self.encoder.prefix}"]
        return self._todo(
            f"{self.block}.num_prefix_tokens",
            "return how many tokens stand in front of the patches (class token, registers). "
            f"{self.model} does not show it: block 0 is called with {self.encoder.observed.seen}, {_RUN}. "
            "If that is no sequence of patches, the family must define tokens, too.",
        )

    def _property(self, name: str, kind: str, body: Sequence[str]) -> Iterator[str]:
        yield "    @property"
        yield f"    def {name}(self) -> {kind}:"
        yield from (f"        {line}" for line in body)

    # --- the family -----------------------------------------------------------------------------------

    def _family(self) -> Iterator[str]:
        classes, observed = self.encoder.classes, self.encoder.observed
        yield f"class {self.family}(DenseFamily[{self.block}]):"
        yield f'    """How the stages of {self.model} run, and which tensors they have in a checkpoint."""'
        yield ""
        yield f'    model_type = "{self.model_type}"'
        if classes.module != "transformers":
            yield f'    module = "{classes.module}"'
        yield f'    model_class = "{self.model}"'
        yield f'    config_class = "{self.config}"'
        yield f'    blocks = "{observed.blocks}"'
        yield f'    post_norm = "{observed.post_norm}"'
        if not observed.norms_last_hidden_state:
            yield "    norms_last_hidden_state = False"
        if observed.head:
            yield f'    head = "{observed.head}"'
        yield from self._processor()
        yield ""
        if observed.any_size:
            yield from self._method("any_size", self.of_encoder, "bool", ["return True"])
        blocks = self.encoder.blocks
        if blocks is not None and blocks.before != f"{observed.blocks}.":
            name = [f'return f"{blocks.before}{{index}}"']
            yield from self._method("block_name", "index: int", "str", name)
        yield from self._shapes()
        if observed.unused:
            body = [f"return ({', '.join(map(json.dumps, observed.unused))},)"]
            yield from self._method("unused", "num_blocks: int", "tuple[str, ...]", body)
        arguments = "model: Any, pixel_values: Tensor"
        *method, _ = self._method("stem", arguments, "tuple[Tensor, dict[str, Any]]", self._stem())
        yield from method

    def _processor(self) -> Iterator[str]:
        named = self.encoder.image_processor
        if self.encoder.knows_processor:
            yield f'    image_processor = "{named}"'
            return
        what = f"transformers has {named} for its images" if named else "transformers names none for it"
        yield from _comment(
            "image_processor, the class of transformers for checkpoints that name none, is "
            f"CLIPImageProcessor if nothing stands here; {what}."
        )

    def _method(self, name: str, arguments: str, returns: str, body: Sequence[str]) -> Iterator[str]:
        yield f"    def {name}(self, {arguments}) -> {returns}:"
        yield from (f"        {line}" for line in body)
        yield ""

    def _shapes(self) -> Iterator[str]:
        observed, blocks = self.encoder.observed, self.encoder.blocks
        names = [
            name
            for name in self.encoder.sizes.small
            if not (blocks is not None and blocks.has(name)) and not self._below(name, *observed.unused)
        ]
        norm = [name for name in names if self._below(name, observed.post_norm)]
        head = [name for name in names if self._below(name, observed.head)]
        stem = [name for name in names if name not in {*norm, *head}]
        for condition, shapes in self.encoder.more.items():
            yield from _comment(
                f"if {condition}, the encoder also has {_some(shapes)}. Add its tensors below, or refuse "
                "that value in _check of the block."
            )
        yield from self._method("stem_shapes", self.of_encoder, "Shapes", self._dict("stem_shapes", "", stem))
        yield from self._method("block_shapes", self.of_encoder, "Shapes", self._block_shapes())
        if observed.post_norm and len(norm) != 2:  # what is inherited is a LayerNorm
            body = self._dict("norm_shapes", f"{observed.post_norm}.", norm)
            yield from self._method("norm_shapes", self.of_encoder, "Shapes", body)
        if observed.head:
            body = self._dict("head_shapes", f"{observed.head}.", head)
            yield from self._method("head_shapes", self.of_encoder, "Shapes", body)
        if renamed := [name for name in (*norm, *head) if self.encoder.own_names[name] != name]:
            yield from _comment(
                f"override parts: it plans {', '.join(self.encoder.own_names[name] for name in renamed)}, "
                f"and the encoder is saved with {', '.join(renamed)}."
            )
            yield ""

    def _block_shapes(self) -> list[str]:
        blocks, where = self.encoder.blocks, f"{self.family}.block_shapes"
        if blocks is None:
            text = "return the tensors of a block. The names that the encoder is saved with do not tell them."
            return self._todo(where, text)
        if not blocks.alike:
            return self._todo(where, "return the tensors of a block. They are not the same in every block.")
        before = f"{blocks.before}0."
        return self._dict("block_shapes", before, [before + name for name in blocks.names])

    def _below(self, name: str, *paths: str) -> bool:
        """Whether a saved tensor is a parameter at one of ``paths``, or of a module there."""
        own = self.encoder.own_names[name]
        return any(path and (own == path or own.startswith(f"{path}.")) for path in paths)

    def _dict(self, method: str, prefix: str, names: list[str]) -> list[str]:
        items = self.encoder.sizes.python(prefix, names)
        if unknown := self.encoder.sizes.unknown(names):
            text = (
                "return the tensors below, with sizes made of the keys of encoder in place of the dots. A "
                f"small encoder has {_some(unknown)}."
            )
            return self._todo(f"{self.family}.{method}", text) + [f"# {item}" for item in items]
        lines = ["return {", *(f"    {item}" for item in items), "}"]
        if sum(line.count(_WIDE) for line in lines) > 1:
            lines = [f"width = {_WIDE}", *(line.replace(_WIDE, "width") for line in lines)]
        return lines

    def _stem(self) -> list[str]:
        observed = self.encoder.observed
        inputs = {name: python for name, python in observed.block_inputs.items() if python is not None}
        missing = [name for name in observed.block_inputs if name not in inputs]
        known = [f"hidden_states = {observed.stem}"] if observed.stem else []
        given = ", ".join(f'"{name}": {python}' for name, python in inputs.items())
        if observed.stem and not missing:
            return [*known, f"return hidden_states, {{{given}}}"]
        wanted = [*([] if observed.stem else ["hidden_states, which is hidden state 0,"]), *missing]
        others = f" and {', '.join(missing)}" if missing else ""
        return known + self._todo(
            f"{self.family}.stem",
            f"compute {' and '.join(wanted)} of pixel_values by the modules of model, and return "
            "hidden_states and a dict with the arguments of every block beside it, "
            f"{{{given}}}{others}. In {self.model}, block 0 is called with {observed.seen}, {_RUN}.",
        )

    def _todo(self, where: str, text: str) -> list[str]:
        lines = _wrapped(f"{self.path}, {where}: {text}")
        quoted = [json.dumps(f"{line} ") for line in lines[:-1]] + [json.dumps(lines[-1])]
        return ["raise NotImplementedError(", *(f"    {line}" for line in quoted), ")"]


def _comment(text: str) -> list[str]:
    return [f"    # {line}" for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    return wrap(TODO + text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _some(shapes: Shapes) -> str:
    """Name some tensors with their shapes."""
    named = [f"{name} {shape}" for name, shape in list(shapes.items())[:_SHOWN]]
    return " and ".join(named) if len(shapes) <= _SHOWN else f"{', '.join(named)} and others"


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
