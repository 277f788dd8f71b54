"""What self-contained pages are made of: a template, one style and a few scripts, all inside the file.

A page allows its own scripts alone, by their hashes (content security policy), and asks no other host for anything.
"""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from mlipq.hub.inspect.texts import breakable, short

PACKAGE = "mlipq.hub.inspect"
"""Where what all pages share lies."""
BASE_STYLE, THEME = "base.css", "theme.js"
"""Colours, type, tables and tiles of every page; and its switch between light and dark, a button ``#theme``."""


def environment_of(package: str) -> Environment:
    """Return where a package's templates are found, in its folder ``assets``; what they show is escaped."""
    environment = Environment(
        loader=PackageLoader(package, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "breakable": breakable}
    return environment


def read_asset(name: str, package: str = PACKAGE) -> str:
    """Return the text of a file in the folder ``assets`` of a package."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def sha256_of(script: str) -> str:
    """Return the hash of a script as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
