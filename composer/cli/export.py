"""``vision-composer export``: an encoder as one file that runs without transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Overrides, Plugins
from .output import echo

_AS_EXPORTED = ("compile=false", "parallel=none")
"""What a config may say of how it runs, and no file of one graph keeps."""

_OF_FORMAT = {"gguf": ("output=embeds",)}
"""What a format has in any case: llama.cpp's files have the connector."""


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A preset's name, a YAML file, the folder of a saved tower or checkpoint, or a hub id.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, which must not exist.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="pt2|aoti|onnx|gguf", help="Who reads the file; see docs/export.md."
        ),
    ] = "pt2",
    dtype: Annotated[
        str | None,
        typer.Option(metavar="f16|f32|bf16", help="What the matrices of a GGUF file are in; f16 by default."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the file will run, such as cpu or cuda.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Write an encoder into one file that runs without transformers.

    Before the file gets its name, it is loaded again and compared with the encoder on batches of other
    numbers and sizes of images than it was made with; of a GGUF file, the tensors are compared.
    """
    from ..composing import compose
    from ..export.exporting import export_encoder

    overrides = [*(set_ or ()), *_AS_EXPORTED, *_OF_FORMAT.get(format_, ())]
    exported = export_encoder(
        compose(source, overrides=overrides, device=device), output, format_, dtype=dtype
    )
    for batch, difference in exported.parity.items():
        echo(f"{batch}: within {difference:.1e} of the largest feature")
    size = exported.path.stat().st_size / 2**20
    echo(f"{exported.path}, {size:,.1f} MiB")
