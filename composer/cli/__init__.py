"""The command line. A command's module imports nothing heavy before its function runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import VisionComposerError
from . import (
    backends,
    bench,
    demo,
    diff,
    encode,
    export,
    init,
    inspect,
    job,
    lock,
    migrate,
    new_family,
    plan,
    plugins,
    presets,
    probe,
    schema,
    show,
    validate,
    verify,
)
from .output import echo

_LEFT_OUT = ("torch", "transformers", "numpy", "PIL", "pyarrow", "safetensors")
"""Packages that every installation has but one that ``requirements-light.txt`` made."""

_SECTIONS: dict[str, dict[Callable[..., None], str]] = {
    "Write and check configs": {
        validate.validate: "validate --strict my-tower.yaml",
        init.init: "init --from llava-hf/llava-1.5-7b-hf > my-tower.yaml",
        migrate.migrate: "migrate configs",
        lock.lock: "lock my-tower.yaml",
        schema.schema: "schema > vision-composer-1.json",
    },
    "Read configs": {
        plan.plan: "plan llava-1.5-7b --image-size 672x1008",
        show.show: "show llava-1.5-7b --resolved",
        show.explain: "explain llava-1.5-7b encoder.hidden_act",
        diff.diff: "diff --git main configs",
    },
    "Run encoders": {
        encode.encode: "encode tiny-digits docs/images -o features",
        job.job: "job features",
        export.export: "export tiny-digits -o tower.pt2",
        demo.demo: "demo -o demo-output",
    },
    "Measure and compare": {
        bench.bench: "bench tiny-digits",
        inspect.inspect: "inspect tiny-digits docs/images/demo.png -o page.html",
        probe.probe: "probe tiny-digits digits",
        verify.verify: "verify llava-hf/llava-1.5-7b-hf photo.jpg",
        backends.backends: "backends llava-1.5-7b --device cuda:0",
    },
    "Extend": {
        plugins.plugins: "plugins",
        new_family.new_family: "new-family my-vit --from vit",
    },
}
"""What ``--help`` lists together -> the commands, each with an example."""
_PRESETS = "Read configs"


class _Sections(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # click's, of which typer may have its own
        """List the commands below what they are for."""
        for title, commands in _SECTIONS.items():
            names = [command.__name__.replace("_", "-") for command in commands]
            rows = [(name, self.commands[name].get_short_help_str(60)) for name in names]
            if title == _PRESETS:
                rows.append(("presets", self.commands["presets"].get_short_help_str(60)))
            with formatter.section(title):
                formatter.write_dl(rows)


app = typer.Typer(
    cls=_Sections,
    help="A YAML file in, the vision encoder of a vision-language model out.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich takes as long to import as all the rest of --help
    pretty_exceptions_enable=False,
)
for _commands in _SECTIONS.values():
    for _command, _example in _commands.items():
        app.command(epilog=f"Example: vision-composer {_example}")(_command)
app.add_typer(presets.app, name="presets", epilog="Example: vision-composer presets show llava-1.5-7b")


def main() -> None:
    """Run the command line. An error of this package prints its message, and the exit status is 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character
    try:
        app()
    except VisionComposerError as error:
        echo(str(error), err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LEFT_OUT:
            raise
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "this")
        echo(f"{command} needs {error.name}, which a light environment leaves out: pip install .", err=True)
        sys.exit(1)
    except OSError as error:
        echo(_reason(error), err=True)
        sys.exit(1)


def _reason(error: OSError) -> str:
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    try:
        os.getcwd()
    except OSError:
        return "the current directory is gone; change to one that exists"
    return f"cannot write: {error.strerror or error}"  # standard output is full or gone
