"""``vision-composer demo``: the embedded encoder at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for features and chart.")] = Path(
        "demo-output"
    ),
) -> None:
    """Encode scikit-learn's handwritten digits with the embedded encoder, and show what its features know.

    Nothing is downloaded. Needs the extra: pip install 'vision-composer[demo]'.
    """
    from rich.console import Console

    from ..demo.run import run_demo

    run_demo(output, Console())
