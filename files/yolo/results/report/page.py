"""The page of a view: one HTML file that needs no network and no other file, and runs no script.

Names of files and classes come from strangers. Whatever a template prints is escaped, and before that put into one line
with what can't be printed spelt out; only markup that a template or a plot made passes as it is.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...share.errors import one_line
from . import parts
from .view import View

TEMPLATES = Path(__file__).with_name("templates")


def _printed(value: object) -> object:
    # Markup is what macros and plots return.
    return value if isinstance(value, Markup) else one_line(value)


def environment() -> Environment:
    """Return what the templates are rendered with."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": parts.number, "dollars": parts.dollars, "cell": parts.cell}
    return made


def render(view: View) -> str:
    """Return the page; the same view always makes the same page."""
    return environment().get_template("report.html.j2").render(view=view)
