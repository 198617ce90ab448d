"""The `nnrun` command: one file per command, which parses, calls and prints.

Nothing heavy (torch, pandas, scikit-learn, matplotlib, pydantic) is imported before a command needs it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TextIO, cast

from nnrun.cli.streams import Unheard, replace_closed_streams, write_to_nobody
from nnrun.errors import EXIT_INTERRUPTED, NnrunError
from nnrun.interrupts import Leave
from nnrun.spec.allowed import allowing


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. The one place where errors become sentences."""
    replace_closed_streams()
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    as_json = "--json" in args
    args = [arg for arg in args if arg != "--debug"]
    try:
        from nnrun.cli.app import app  # takes a moment, in which Ctrl-C may come

        with allowing():  # what one command was allowed, the next is not
            result = app(args, standalone_mode=False, prog_name="nnrun")
        sys.stdout.flush()  # here and not at the interpreter's end, where nobody could catch a broken pipe
    except KeyboardInterrupt:
        _say("interrupted", "KeyboardInterrupt", EXIT_INTERRUPTED, as_json)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        write_to_nobody()
        return 0
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        write_to_nobody()  # Click met the broken pipe first, and would leave with 1
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
            kind = "KeyboardInterrupt" if code == EXIT_INTERRUPTED else "UsageError"
            _say(usage_message(error), kind, code, as_json)
            return code
        if debug:
            raise
        from nnrun.experiment.out_of_memory import out_of_memory

        ran_out = out_of_memory(error)
        if ran_out is not None:
            _say(f"error: {ran_out}", "MemoryError", 1, as_json)
            return 1
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
        with contextlib.suppress(OSError):
            print_json({"error": kind, "exit_code": exit_code, "message": text.removeprefix("error: ")})


def entry_point() -> None:
    """The installed `nnrun` command. SIGTERM and SIGHUP end it as Ctrl-C does, with codes of their own.

    A second request does not wait for what the first began: the process ends at once.
    """
    replace_closed_streams()
    sys.stderr = cast(TextIO, Unheard(sys.stderr))
    ending: list[int] = []
    atexit.register(_exit_with, ending)  # the first to be registered is the last to be called
    leave = Leave()
    leave.install()
    code = main()
    write_to_nobody()  # what a stream still holds for a reader that went away would change the exit code
    if leave.came is not None and code == EXIT_INTERRUPTED:
        code = 128 + leave.came
        ending.append(code)
    sys.exit(code)


def _exit_with(ending: Sequence[int]) -> None:
    """End the process with this code, if there is one, once all else has ended.

    Where a KeyboardInterrupt passed through a C extension that was being imported, Python itself would end
    the process by SIGINT, also where SIGTERM was the cause.
    """
    if ending:
        write_to_nobody()
        os._exit(ending[0])
