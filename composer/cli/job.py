"""``vision-composer job``: how far a job is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import echo

_REASONS = 5


def job(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The output of a job.")],
) -> None:
    """Show how far a job is, how fast, and what failed, from any terminal.

    Exit status: 0 if every image is encoded, 1 if some are left or failed.
    """
    from ..jobs.status import job_status

    status = job_status(output)
    plan = status.plan
    done = status.num_images + status.num_failed
    echo(
        f"{done:,} of {plan.num_rows:,} images done, {status.num_failed:,} of them failed; "
        f"{len(status.parts):,} of {plan.num_parts:,} parts complete"
    )
    for reason, number in status.reasons[:_REASONS]:
        echo(f"  {number:,} failed: {reason}")
    for run in status.runs:
        echo(f"running: {run.num_done:,} of {run.num_rows:,} images; {run.line()}")
    if not status.runs and done < plan.num_rows:
        echo("not running; the command that began it goes on with it")
    raise typer.Exit(1 if status.num_failed or done < plan.num_rows else 0)
