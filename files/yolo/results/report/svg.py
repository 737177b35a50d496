"""One plot as an ``<svg>`` element for an HTML page.

The same figures give the same bytes: no dates, no random ids, no settings of the user's own. Text stays text, so that
it can be searched, read aloud and printed; each plot has a title and a description for those who can't see it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ...share.errors import one_line

WIDTH = 5.0  # inches; small, so that the letters can be read on a phone

_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 8.5,
    "text.parse_math": False,  # a class may be called $x$
    "text.color": "#1a1a1a",
    "axes.labelcolor": "#1a1a1a",
    "xtick.color": "#1a1a1a",
    "ytick.color": "#1a1a1a",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.4,
    "hatch.color": "#ffffff",
    "path.simplify": False,
}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


def render(name: str, title: str, description: str, height: float, paint: Callable[[Figure], None]) -> str:
    """Return a plot as an ``<svg>`` element.

    Args:
        name: Short and unique on the page; begins all ids.
        title: What a reader of the page hears first.
        description: What the plot shows, with its main figures.
        height: Inches.
        paint: Draws on the figure.
    """
    file = io.BytesIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        # Letters that matplotlib's own font lacks are drawn by the browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), name, title, description)


def _inline(document: bytes, name: str, title: str, description: str) -> str:
    """Return the root of an SVG document so that it may stand among others in a page."""
    root = ElementTree.fromstring(document)
    ids = {e.get("id"): f"{name}-{e.get('id')}" for e in root.iter() if e.get("id")}
    for parent in list(root.iter()):
        for child in list(parent):
            # A style of all elements would be one of the whole page.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, ids[value])
            elif key == f"{{{_XLINK}}}href" and value[1:] in ids:
                del element.attrib[key]
                element.set("href", f"#{ids[value[1:]]}")
            elif "url(#" in value:
                before, _, rest = value.partition("url(#")
                target, _, after = rest.partition(")")
                element.set(key, f"{before}url(#{ids.get(target, target)}){after}")
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = one_line(text)
        root.insert(place, element)
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")
