"""The `nnrun` command: one file per command, which parses, calls and prints; `app` has the table of commands.

Nothing heavy (torch, pandas, scikit-learn, matplotlib, pydantic) is imported before a command needs it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TextIO, cast

from nnrun.cli.output import Unheard, readable_streams, replace_closed_streams, write_to_nobody
from nnrun.cli.torchrun import only_follows, refuse_other_commands, tell_torchrun
from nnrun.errors import EXIT_INTERRUPTED, AmbiguousRunError, NnrunError, UsageError
from nnrun.interrupts import Leave, exit_code_of_interruption
from nnrun.own_process import begin_own_process
from nnrun.spec.allowed_modules import allowing
from nnrun.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. The one place where errors become sentences."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    as_json = "--json" in args
    args = [arg for arg in args if arg != "--debug"]
    result: object = None
    try:
        replace_closed_streams()
        readable_streams()  # within `try`: a request to stop may come from the first moment on
        if args == ["--version"]:  # needs no Typer, whose import takes longer than all else
            print(f"nnrun {__version__}")
        else:
            from nnrun.cli.app import app  # takes a moment, in which Ctrl-C may come

            refuse_other_commands(args)
            with allowing():  # what one command was allowed, the next is not
                result = app(args, standalone_mode=False, prog_name="nnrun")
        sys.stdout.flush()  # here and not at the interpreter's end, where nobody could catch a broken pipe
    except KeyboardInterrupt:
        _say("interrupted", "KeyboardInterrupt", exit_code_of_interruption(), as_json)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        write_to_nobody()
        return 0
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        write_to_nobody()  # Click met the broken pipe first, and would leave with 1
        return 0
    except Exception as error:
        from nnrun.cli.app import usage_exit_code, usage_message

        code = usage_exit_code(error)
        if code is not None:
            interrupted = code == EXIT_INTERRUPTED
            kind = "KeyboardInterrupt" if interrupted else "UsageError"
            said = exit_code_of_interruption() if interrupted else code
            _say(usage_message(error), kind, said, as_json)
            return code
        if debug:
            raise
        return _explained(error, args, as_json)
    return result if isinstance(result, int) else 0


def _clock_is_off() -> bool:
    """Whether this machine's clock is beyond the year 2262, up to which Python counts nanoseconds."""
    try:
        time.time()
    except OverflowError:
        return True
    return False


def _explained(error: Exception, args: Sequence[str], as_json: bool) -> int:
    """Say what went wrong in a command, and give its exit code."""
    if isinstance(error, OverflowError) and _clock_is_off():
        _say(
            "error: the clock of this machine shows a year after 2262, beyond which Python cannot tell the "
            "time. Set the clock (`date` shows it), and run the command again.",
            "NnrunError",
            1,
            as_json,
        )
        return 1
    from nnrun.cli.output import error_text, report_error
    from nnrun.limits import out_of_memory

    if isinstance(error, NnrunError):
        error = _with_commands(error, args)
        tell_torchrun(error_text(error), error.exit_code)
        if not only_follows():  # else the process that leads tells what is wrong
            report_error(error, as_json=as_json)
        return error.exit_code
    ran_out = out_of_memory(error)
    if ran_out is not None:
        _say(f"error: {ran_out}", "MemoryError", 1, as_json, error)
    elif isinstance(error, OSError):
        _say(f"error: {_os_text(error)}", "OSError", 1, as_json, error)
    else:
        kind = type(error).__name__
        bug = "This is a bug. Run the command again with --debug to see where."
        _say(f"error: internal error: {kind}: {error}\n{bug}", kind, 1, as_json, error)
    return 1


def _os_text(error: OSError) -> str:
    """What the system refused, and of which file; Python's own text begins with a number."""
    if not error.strerror:
        return str(error)
    named = "" if error.filename is None else f"{error.filename}: "
    return f"{named}{error.strerror}."


def _with_commands(error: NnrunError, args: Sequence[str]) -> NnrunError:
    """Where a name means several runs: the command for each of them."""
    if not isinstance(error, AmbiguousRunError):
        return error
    commands = [
        shlex.join(["nnrun", *(match if arg == error.reference else arg for arg in args)])
        for match in error.matches[:_MOST_COMMANDS]
    ]
    more = len(error.matches) - len(commands)
    ending = [f"... and {more} more"] if more else []
    listed = "\n".join(f"  {line}" for line in [*commands, *ending])
    return UsageError(f"'{error.reference}' matches {len(error.matches)} runs; name one:\n{listed}")


_MOST_COMMANDS = 10


def _say(text: str, kind: str, exit_code: int, as_json: bool, error: BaseException | None = None) -> None:
    """A message on stderr, and with --json a document on stdout as well."""
    from nnrun.cli.output import folder_document, message, print_json

    message(text)
    tell_torchrun(text, EXIT_INTERRUPTED if kind == "KeyboardInterrupt" else exit_code)
    if as_json:
        document = {"error": kind, "exit_code": exit_code, "message": text.removeprefix("error: ")}
        with contextlib.suppress(OSError):
            print_json(document | ({} if error is None else folder_document(error)))


_ONLY_COMPUTE = frozenset(
    ("train", "kfold", "sweep", "lr", "curve", "final", "evaluate", "importance", "predict", "tune")
)
"""The commands that train and predict, and compile or export nothing of PyTorch's."""


def entry_point() -> None:
    """The installed `nnrun` command. SIGTERM and SIGHUP end it as Ctrl-C does, with codes of their own.

    A second request does not wait for what the first began: the process ends at once.
    """
    # torch, pandas and the like make hundreds of thousands of objects that live to the end. To look through
    # them for garbage every 700 objects is a tenth of a short command's time.
    gc.set_threshold(200_000, 50, 50)
    begin_own_process()
    replace_closed_streams()
    sys.stderr = cast(TextIO, Unheard(sys.stderr))
    leave = Leave()
    leave.install()
    ended: list[int] = []
    atexit.register(_leave, ended)  # the first to be registered is called last
    if sys.argv[1:2] and sys.argv[1] in _ONLY_COMPUTE and "TORCHELASTIC_RUN_ID" not in os.environ:
        from nnrun.torch_compilers import leave_compilers_for_later

        leave_compilers_for_later()
    code = main()
    if leave.came is not None and code in (0, 1):  # what the command called has swallowed the request to stop
        with contextlib.suppress(OSError):
            sys.stderr.write("interrupted\n")
        code = EXIT_INTERRUPTED
    write_to_nobody()  # what a stream still holds for a reader that went away would change the exit code
    ended.append(128 + leave.came if leave.came is not None and code == EXIT_INTERRUPTED else code)
    sys.exit(ended[0])


def _leave(ended: Sequence[int]) -> None:
    """End the process without taking apart what torch and pandas made: that takes half a second.

    Threads were waited for, and whoever asked `atexit` since the command began has heard of the end. Where
    `ended` holds no exit code, the process ends as Python ends it. Where a KeyboardInterrupt passed through a
    C extension that was being imported, Python would end the process by SIGINT, also where SIGTERM came.
    """
    if ended:
        write_to_nobody()
        os._exit(ended[0])
