"""The `nnrun` command: one file per command, which parses, calls and prints.

Nothing heavy (torch, pandas, scikit-learn, matplotlib, pydantic) is imported before a command needs it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from nnrun.errors import EXIT_INTERRUPTED, NnrunError
from nnrun.spec.allowed import allowing


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. The one place where errors become sentences."""
    from nnrun.cli.app import app

    _replace_closed_streams()
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    as_json = "--json" in args
    args = [arg for arg in args if arg != "--debug"]
    try:
        with allowing():  # what one command was allowed, the next is not
            result = app(args, standalone_mode=False, prog_name="nnrun")
        sys.stdout.flush()  # here and not at the interpreter's end, where nobody could catch a broken pipe
    except KeyboardInterrupt:
        _say("interrupted", "KeyboardInterrupt", EXIT_INTERRUPTED, as_json)
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
        from nnrun.cli.app import usage_exit_code, usage_message

        code = usage_exit_code(error)
        if code is not None:
            _say(usage_message(error), "UsageError", code, as_json)
            return code
        if debug:
            raise
        if isinstance(error, OSError):
            _say(f"error: {error}", "OSError", 1, as_json)
            return 1
        _say(
            f"error: nnrun met a fault of its own: {type(error).__name__}: {error}\n"
            "This is a bug. Run the command again with --debug to see where.",
            type(error).__name__,
            1,
            as_json,
        )
        return 1
    return result if isinstance(result, int) else 0


def _say(text: str, kind: str, exit_code: int, as_json: bool) -> None:
    """A message on stderr, and with --json a document on stdout as well."""
    from nnrun.cli.output import message, print_json

    message(text)
    if as_json:
        print_json({"error": kind, "exit_code": exit_code, "message": text.removeprefix("error: ")})


def _replace_closed_streams() -> None:
    """A stream that was closed before nnrun began (`2>&-`) is None; what is written to it goes nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it is open as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _write_to_nobody() -> None:
    """The reader went away (`nnrun ls | head -1`), which is no fault: what is left to write is dropped."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(nowhere, stream.fileno())


def entry_point() -> None:
    """The installed `nnrun` command. SIGTERM and SIGHUP end it as Ctrl-C does, with codes of their own."""
    came: list[int] = []

    def stop(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it: so do we
            signal.signal(number, stop)
    code = main()
    sys.exit(128 + came[0] if came and code == EXIT_INTERRUPTED else code)
