"""The `nnrun` command: one file per command, which parses, calls and prints.

Nothing heavy (torch, pandas, scikit-learn, matplotlib, pydantic) is imported before a command needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nnrun.errors import EXIT_INTERRUPTED, NnrunError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. The one place where errors become sentences."""
    from nnrun.cli.app import app

    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    as_json = "--json" in args
    args = [arg for arg in args if arg != "--debug"]
    try:
        result = app(args, standalone_mode=False, prog_name="nnrun")
        sys.stdout.flush()  # here and not at the interpreter's end, where nobody could catch a broken pipe
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _write_to_nobody()
        return 0
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        _write_to_nobody()  # Click met the broken pipe first, and would leave with 1
        return 0
    except NnrunError as error:
        if debug:
            raise
        from nnrun.cli.output import report_error

        report_error(error, as_json=as_json)
        return error.exit_code
    except Exception as error:
        from nnrun.cli.app import report_usage_error, usage_exit_code

        code = usage_exit_code(error)
        if code is not None:
            report_usage_error(error)
            return code
        if debug:
            raise
        print(
            f"error: nnrun met a fault of its own: {type(error).__name__}: {error}\n"
            "This is a bug. Run the command again with --debug to see where.",
            file=sys.stderr,
        )
        return 1
    return result if isinstance(result, int) else 0


def _write_to_nobody() -> None:
    """The reader went away (`nnrun ls | head -1`), which is no fault: what is left to write is dropped."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(nowhere, stream.fileno())


def entry_point() -> None:
    """The installed `nnrun` command."""
    sys.exit(main())
