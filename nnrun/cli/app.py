"""The `nnrun` application and the table of its commands, each of which is imported when it is asked for."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from nnrun.cli.options import with_groups_expanded
from nnrun.errors import EXIT_INTERRUPTED
from nnrun.version import __version__

COMMANDS = {
    "train": "nnrun.cli.train:train",
    "kfold": "nnrun.cli.kfold:kfold",
    "sweep": "nnrun.cli.sweep:sweep",
    "lr": "nnrun.cli.lr:lr",
    "curve": "nnrun.cli.curve:curve",
    "tune": "nnrun.cli.tune:tune",
    "final": "nnrun.cli.final:final",
    "evaluate": "nnrun.cli.evaluate:evaluate",
    "importance": "nnrun.cli.importance:importance",
    "predict": "nnrun.cli.predict:predict",
    "serve": "nnrun.cli.serve:serve",
    "card": "nnrun.cli.card:card",
    "export": "nnrun.cli.export:export",
    "eject": "nnrun.cli.eject:eject",
    "publish": "nnrun.cli.publish:publish",
    "reproduce": "nnrun.cli.reproduce:reproduce",
    "plot": "nnrun.cli.plot:plot",
    "report": "nnrun.cli.report:report",
    "check": "nnrun.cli.check:check",
    "show": "nnrun.cli.show:show",
    "ls": "nnrun.cli.ls:ls",
    "compare": "nnrun.cli.compare:compare",
    "diff": "nnrun.cli.diff:diff",
    "rm": "nnrun.cli.rm:rm",
    "help": "nnrun.cli.help:help_",
    "schema": "nnrun.cli.schema_command:schema",
    "init": "nnrun.cli.init:init",
    "doctor": "nnrun.cli.doctor:doctor",
    "data": "nnrun.cli.data:data",
}
"""Command name → `module:function`, in the order of `nnrun --help`.

A command is a function that Typer can read, with a docstring for its help, or a `typer.Typer` of subcommands.
"""

# Typer carries its own copy of Click since 0.2x, so the exception's base is taken from Typer itself.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]


class _Commands(typer.core.TyperGroup):
    """The commands of the table. Typer would end at Ctrl-C without a word."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # filled by `get_command`

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None where the table does not have it."""
        if cmd_name in self.commands and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

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


@cache  # a process that calls `nnrun.cli.main` more than once builds each command once
def _load(name: str) -> Any:
    """The Click command of an entry of the table."""
    module, _, attribute = COMMANDS[name].partition(":")
    command = getattr(import_module(module), attribute)
    if not isinstance(command, typer.Typer):
        function, command = command, typer.Typer(add_completion=False, rich_markup_mode=None)
        command.command(name)(with_groups_expanded(function))
    return typer.main.get_command(command)


app = typer.Typer(
    name="nnrun",
    cls=_Commands,
    help="Train the network that a YAML spec declares, and keep an honest record of how it learned.",
    no_args_is_help=True,
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


def _meant(message: str) -> str:
    """The word that is nearest to one that Typer refuses, with those that it takes in the same message."""
    refused = re.search(r"'([^']*)' is not one of (.+?)\.?$", message)
    if refused is None:
        return ""
    from nnrun.spec.wording import nearest, quoted

    match = nearest(refused[1], re.findall(r"'([^']*)'", refused[2]))
    return f" Did you mean {quoted(match)}?" if match else ""


def usage_message(error: Exception) -> str:
    """What is wrong with the command line, and how to see what is right."""
    if isinstance(error, typer.Abort):
        return "interrupted"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nnrun"
    message = str(error.format_message()).replace("Value error, ", "", 1)  # type: ignore[attr-defined]
    message += _meant(message)
    if message.startswith("Usage:"):  # no command was named: the message is the help
        return message
    return f"error: {message}\nTry '{command} --help'."
