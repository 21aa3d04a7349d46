"""The options of ``python scripts/gpu_check``, and the three kinds of process that it runs as."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    import gpu_check
    from gpu_check.sections import SHARES

    parser = argparse.ArgumentParser(
        prog="gpu_check", description=gpu_check.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("."), help="folder for the results")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script itself")
    parser.add_argument("--budget", type=float, default=420, help="seconds for everything (default: 420)")
    parser.add_argument("--quick", action="store_true", help="half the time")
    parser.add_argument(
        "--only", nargs="+", choices=SHARES, default=list(SHARES), help="these sections alone"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # Only what measures imports torch and the package: the process that watches must run without them.
    if arguments.probe:
        from gpu_check.probes import PROBES

        PROBES[arguments.probe].run(arguments.device)
        sys.stdout.flush()
        os._exit(0)  # groups of ranks may wait for each other on the way out
    if arguments.worker:
        from gpu_check.worker import work

        return work(arguments.worker, arguments.device)
    from gpu_check.watch import watch

    return watch(arguments)


if __name__ == "__main__":
    # Python puts this folder first. Its modules are those of the package gpu_check, in the folder above.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(main())
