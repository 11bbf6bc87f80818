"""A Sphinx extension that reads docstrings as they are meant: ours are written for `help()`."""

from __future__ import annotations

import re
from types import FunctionType

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature


def read_docstring(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """A list may follow its sentence without a blank line, and |x| is a modulus.

    A module's ends in what it offers to be called that is no function, as exercises: they have no
    docstring of their own.
    """
    text = re.sub(r"^(?! *- )(.*\S.*)\n(?= *- )", r"\1\n\n", "\n".join(lines), flags=re.MULTILINE)
    lines[:] = re.sub(r"\|(\w+)\|", r"\|\1\|", text).split("\n")
    if what == "module":
        for offered in getattr(item, "__all__", ()):
            value = getattr(item, offered)
            if callable(value) and not isinstance(value, type | FunctionType):
                lines += ["", f".. py:data:: {offered}", "", f"   ``{value}``"]


def read_signature(
    app: Sphinx, what: str, name: str, item: type, options: object, found: str, result: str
) -> tuple[str | None, str | None]:
    """Aliases of types by their names, and what a panel takes.

    That is hidden by the `__new__` of traitlets, which takes anything.
    """
    if what == "class" and (found or "").startswith("(*args"):
        taken = signature(item.__init__, bound_method=True)
        found = stringify_signature(taken, show_return_annotation=False, unqualified_typehints=True)
    return found and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", found), result


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
