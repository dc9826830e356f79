"""The `galzoo` command. Each verb is a few lines; heavy imports are inside, so that help and lists are instant."""

import os
import re
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from galzoo import __version__
from galzoo.cli.pairs import PairCommand
from galzoo.cli.quiet import install
from galzoo.errors import GalzooError
from galzoo.registry import import_object, tasks

# TensorFlow's C++ start-up notices say nothing that a user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The exit code of a program that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130
# A home folder at the beginning of a word, or of a value.
_HOME = re.compile(r"(?<![^=,])~\w*(?=/|$)")


class TaskGroup(TyperGroup):
    """The commands of galzoo itself and one for each task, which is imported when it is called."""

    def parse_args(self, context, args):
        # As shells write it out, but in quotes or behind the sign of --output=~/out.
        return super().parse_args(
            context, [_HOME.sub(lambda found: os.path.expanduser(found[0]), word) for word in args]
        )

    def list_commands(self, context):
        return [*super().list_commands(context), *(task.name for task in _with_command())]

    def get_command(self, context, name):
        known = super().get_command(context, name)
        task = next((task for task in _with_command() if task.name == name), None)
        if known is not None or task is None:
            return known
        single = typer.Typer(rich_markup_mode=None, add_completion=False)
        single.command(name, cls=PairCommand)(import_object(task.command))
        command = get_command(single)
        command.name = name
        return command

    def format_commands(self, context, formatter):
        own = {name: command for name, command in self.commands.items() if not command.hidden}
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=100)) for name, command in own.items()])
        with formatter.section("Tasks of trained models"):
            formatter.write_dl([(task.name, task.help or task.title) for task in _with_command()])


def _with_command():
    return [task for task in tasks().values() if task.command]


app = typer.Typer(
    cls=TaskGroup,
    help="A model zoo for overlapping galaxies and stars.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main():
    """Run the command line; errors that a user can mend are one line and exit code 2."""
    install()
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except GalzooError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'reading or writing'}: {error.strerror or error}")
    except Exception as error:
        _fail_usage(error)
    if code == _INTERRUPTED:
        sys.stderr.write(f"\n{'; '.join(['interrupted', *filter(None, [_way_on()])])}\n")
    sys.exit(code if isinstance(code, int) else 0)


def _way_on():
    """Return how to go on with the command that was interrupted, "" where there is nothing to go on with."""
    called = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if called == "train":
        return "what was finished is kept, and `galzoo train ... --resume` goes on"
    if called == "simulate":
        return "what was finished is kept, and the same command goes on"
    return next((task.interrupted for task in _with_command() if task.name == called), "")


def _fail(message):
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(2)


def _fail_usage(error):
    """Report a wrong command line in one line; anything else is a bug and keeps its traceback."""
    # The class of these errors is click's or typer's own, by the version of typer.
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    if not hasattr(error, "format_message"):
        raise error
    context = getattr(error, "ctx", None)
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    _fail(f"{error.format_message().rstrip('.')}{hint}")


def _version(wanted: bool):
    if wanted:
        sys.stdout.write(f"galzoo {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
):
    """Global options."""


def _register():
    from galzoo.cli import data, evaluate, lists, simulate, train, verify

    for module in (lists, verify, train, evaluate, data, simulate):
        module.register(app)


_register()
