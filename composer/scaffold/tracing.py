"""One run of an encoder, module by module: which Python would compute what its blocks were called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any, Self

from torch import Tensor, nn

_MOST_CALLS = 8


@dataclass(frozen=True)
class _Call:
    """One call of a module outside the blocks."""

    path: str
    module: nn.Module
    arguments: Mapping[str, Any]
    output: Any


@dataclass
class Trace:
    """One run.

    Attributes:
        model: The encoder.
        blocks: Its blocks.
        pixels: What it was run on.
        calls: The modules outside the blocks, in the order in which they returned.
        states: Hidden states 0 to N.
        inputs: The arguments of block 0 beside its hidden state.
        differing: Those that other blocks are given otherwise.
        output: What the encoder returned.
    """

    model: nn.Module
    blocks: nn.ModuleList
    pixels: Tensor
    calls: list[_Call] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    differing: set[str] = field(default_factory=set)
    output: Any = None
    _before_blocks: int = 0

    @classmethod
    def of(cls, model: nn.Module, blocks: str, pixels: Tensor) -> Self:
        """Run ``model`` on ``pixels``, (images, channels, height, width)."""
        modules: nn.ModuleList = model.get_submodule(blocks)  # type: ignore[assignment]  # a path of one
        trace = cls(model, modules, pixels)
        handles = []
        for path, module in model.named_modules():
            if path and not path.startswith(f"{blocks}.") and path != blocks:
                handles.append(module.register_forward_hook(trace._watch(path), with_kwargs=True))
        for index, block in enumerate(modules):
            handles.append(block.register_forward_pre_hook(trace._enter(index), with_kwargs=True))
            handles.append(block.register_forward_hook(trace._leave))
        try:
            trace.output = model(pixel_values=pixels)
        finally:
            for handle in handles:
                handle.remove()
        return trace

    def _watch(self, path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self.calls.append(_Call(path, module, _bound(module, args, kwargs), output))

        return hook

    def _enter(self, index: int) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            (_, state), *inputs = _bound(module, args, kwargs).items()
            if index == 0:
                self.states.append(state)
                self._before_blocks = len(self.calls)
                self.inputs = dict(inputs)
            else:
                alike = {name for name, value in inputs if _alike(value, self.inputs.get(name))}
                self.differing |= self.inputs.keys() - alike

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.states.append(output[0] if isinstance(output, tuple) else output)

    # --- before the blocks ----------------------------------------------------------------------------

    def stem(self) -> str | None:
        """Return Python for hidden state 0; None if it is not the output of modules called one by one."""
        return self._python(self.states[0], _MOST_CALLS)

    def block_inputs(self) -> dict[str, str | None]:
        """Return Python for each argument of the blocks that is not its default.

        None stands for one that is not known, or not the same for all blocks.
        """
        parameters = signature(self.blocks[0].forward).parameters
        return {
            name: None if name in self.differing else self._python(value, _MOST_CALLS)
            for name, value in self.inputs.items()
            if name not in parameters or not _says_the_same(value, parameters[name].default)
        }

    def seen(self) -> str:
        """Return what block 0 was called with, in words."""
        arguments = [f"{name}={_described(value)}" for name, value in self.inputs.items()]
        return ", ".join([f"hidden state 0, {_described(self.states[0])}", *arguments])

    def _python(self, value: Any, depth: int) -> str | None:
        if _is_constant(value):
            return repr(value)
        if value is self.pixels:
            return "pixel_values"
        if isinstance(value, tuple) and _equal(value, self.pixels.shape[2:]):
            return "pixel_values.shape[2:]"
        calls = [call for call in self.calls[: self._before_blocks] if _gives(call.output, value) is not None]
        if not calls or depth == 0:
            return None
        call = min(calls, key=lambda call: call.path.count("."))  # the outermost
        made = self._call(call, depth - 1)
        return None if made is None else made + (_gives(call.output, value) or "")

    def _call(self, call: _Call, depth: int) -> str | None:
        parameters = signature(call.module.forward).parameters
        written: list[str] = []
        for name, value in call.arguments.items():
            parameter = parameters.get(name)
            if parameter is not None and _says_the_same(value, parameter.default):
                continue
            python = self._python(value, depth)
            if python is None:
                return None
            first = not written and parameter is not None
            written.append(python if first else f"{name}={python}")
        return f"model.{call.path}({', '.join(written)})"

    # --- behind the blocks ----------------------------------------------------------------------------

    def post_norm(self) -> str:
        """Return the path of the norm behind the last block; empty if there is none.

        It takes the last hidden state or, as in CLIP, one token of it; a norm inside a head is none.
        """
        behind = self.calls[self._before_blocks :]
        heads = {call.path for call in behind if self.blocks not in call.module.modules()}
        norms = [
            call
            for call in behind
            if _is_norm(call.module) and not any(call.path.startswith(f"{path}.") for path in heads)
        ]
        takes = [call for call in norms if any(value is self.states[-1] for value in call.arguments.values())]
        found = takes or norms
        return found[0].path if found else ""

    def head(self) -> str:
        """Return the path of the module that makes pooler_output of last_hidden_state; empty if none does."""
        pooled = getattr(self.output, "pooler_output", None)
        last = getattr(self.output, "last_hidden_state", None)
        for call in self.calls[self._before_blocks :]:
            took = [value for value in call.arguments.values() if isinstance(value, Tensor)]
            if pooled is not None and call.output is pooled and len(took) == 1 and took[0] is last:
                return call.path
        return ""


def _bound(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by the names of the module's parameters."""
    bound = signature(module.forward).bind(*args, **kwargs)
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _alike(one: Any, other: Any) -> bool:
    """Whether two blocks are given the same."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_alike, one, other))
    return one is other or (_is_constant(one) and one == other)


def _says_the_same(value: Any, default: Any) -> bool:
    """Whether an argument is its default, or None where the default is False."""
    return value is default or (value is None and default is False)


def _equal(values: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    return all(type(value) is int for value in values) and tuple(values) == tuple(shape)


def _gives(output: Any, value: Any) -> str | None:
    """Return the index or attribute of a module's output that is ``value``; None if none is."""
    if output is value:
        return ""
    if isinstance(output, Mapping):  # transformers' outputs
        return next((f".{name}" for name, part in output.items() if part is value), None)
    if isinstance(output, Sequence) and not isinstance(output, str):
        return next((f"[{index}]" for index, part in enumerate(output) if part is value), None)
    return None


def _is_norm(module: nn.Module) -> bool:
    names = {name for name, _ in module.named_parameters()}
    return "weight" in names <= {"weight", "bias"} and "norm" in type(module).__name__.lower()


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_described, value))})"
    return repr(value) if _is_constant(value) else type(value).__name__
