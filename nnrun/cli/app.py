"""The Typer application: every command, registered by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.core

from nnrun.errors import EXIT_INTERRUPTED
from nnrun.version import __version__

# Typer carries its own copy of Click since 0.2x, so the exception's base is taken from Typer itself.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]


class _Commands(typer.core.TyperGroup):
    """All commands. Typer would end at Ctrl-C without a word."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line."""
        try:
            return super().make_context(*arguments, **named)
        except KeyboardInterrupt:
            raise typer.Abort from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(
    name="nnrun",
    cls=_Commands,
    help="Train the network that a YAML spec declares, and keep an honest record of how it learned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich would cost more than the rest of the start-up
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"nnrun {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def usage_exit_code(error: Exception) -> int | None:
    """The exit code of an error of the command line itself, or None where it is something else."""
    if isinstance(error, typer.Abort):
        return EXIT_INTERRUPTED
    if isinstance(error, _ClickException):
        return int(getattr(error, "exit_code", 2))
    return None


def usage_message(error: Exception) -> str:
    """What is wrong with the command line, and how to see what is right."""
    if isinstance(error, typer.Abort):
        return "interrupted"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nnrun"
    message = str(error.format_message())  # type: ignore[attr-defined]
    if message.startswith("Usage:"):  # no command was named: the message is the help
        return message
    return f"error: {message}\nTry '{command} --help'."


from nnrun.cli import (  # noqa: E402, I001  (each module registers its command on `app`, in the order of the help)
    train,
    kfold,
    sweep,
    final,
    evaluate,
    predict,
    export,
    reproduce,
    plot,
    report,
    check,
    show,
    ls,
    compare,
    diff,
    rm,
    data,
    schema_command,
    init,
    doctor,
)

__all__ = [
    "app",
    "check",
    "compare",
    "data",
    "diff",
    "doctor",
    "evaluate",
    "export",
    "final",
    "init",
    "kfold",
    "ls",
    "plot",
    "predict",
    "report",
    "reproduce",
    "rm",
    "schema_command",
    "show",
    "sweep",
    "train",
]
