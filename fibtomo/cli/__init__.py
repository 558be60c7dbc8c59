"""Layer 9: the command line ``fibtomo``."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with 0, 2 (the input is wrong) or 1 (fibtomo is wrong)."""
    from fibtomo.cli.app import run_cli

    raise SystemExit(run_cli(list(sys.argv[1:] if argv is None else argv)))
