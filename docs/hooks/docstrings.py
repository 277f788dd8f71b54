"""Griffe extension: the roles of our docstrings (``:func:`mlipq.label```) become links where the site shows their target."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr|exc):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstrings of a package once all of it is loaded: only then can names be resolved."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite all docstrings of the package."""
        _rewrite(pkg)


def _rewrite(item: griffe.Object) -> None:
    if item.docstring:
        item.docstring.value = _ROLE.sub(lambda role: _link(item, role[2], bool(role[1])), item.docstring.value)
    for member in item.members.values():
        if not member.is_alias:
            _rewrite(member)


def _link(item: griffe.Object, name: str, short: bool) -> str:
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref optional identifier="{_full(item, name)}"><code>{shown}</code></autoref>'


def _full(item: griffe.Object, name: str) -> str:
    try:
        return item.resolve(name)
    except griffe.NameResolutionError:
        return name
