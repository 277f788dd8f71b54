"""The reference of the command line, from the Typer app."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import typer
from schema_tables import table

from mlipq.cli.main import app


def verbs() -> str:
    """Return a section for each verb: its usage, what it does, its options, examples."""
    return "\n\n".join(_section(name, command) for name, command in _commands("mlipq", typer.main.get_command(app)))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command, or all commands of a group, each with its full name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for verb, inner in command.commands.items():
        yield from _commands(f"{name} {verb}", inner)


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = context.get_usage().removeprefix("Usage: ")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [(_breakable(names), escape(meaning)) for names, meaning in records]
    return "\n\n".join(
        [
            f"## `{name}`",
            f"```text\n{usage}\n```",
            command.help.replace("\b", ""),
            table(("argument or option", "meaning"), rows),
            _examples(command.epilog),
        ]
    )


def _breakable(names: str) -> str:
    """Let a long option break where it has parts: on a phone its meaning stands beside it."""
    return "<code>" + re.sub(r"([ :])(?=\S)", r"\1<wbr>", escape(names)) + "</code>"


def _examples(epilog: str) -> str:
    lines = [line.strip() for line in epilog.replace("\b", "").strip().splitlines()[1:]]
    return "```bash\n" + "\n".join(lines) + "\n```"
