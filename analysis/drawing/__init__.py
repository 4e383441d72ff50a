"""Draws a network as an SVG picture: cells folded, each distinct body once beside it, or everything unfolded."""

from dataclasses import replace

from analysis.cost import ELEMENT_BYTES
from analysis.drawing import svg
from analysis.drawing.diagram import Drafter, Inset, short
from analysis.drawing.folding import folded
from analysis.drawing.page import compose
from analysis.drawing.typesetting import place_diagram, place_inset
from analysis.layer import architecture_layers
from analysis.report import analyze
from search_spaces.architecture import Architecture

__all__ = ["draw"]

_MARGIN = 20.0


def draw(architecture: Architecture, *, unfold: bool = False, title: str = "network") -> str:
    """The picture of a network as SVG text; the same network always gives the same text.

    Boxes tell their exact figures when they are pointed at. With `unfold` all cells are drawn with what is in them.
    """
    rows = architecture_layers(architecture, batch=1, element_bytes=ELEMENT_BYTES["float32"])
    layers = {layer.name: layer for layer in rows}
    insets: tuple[Inset, ...] = ()
    if unfold:
        diagram = Drafter(layers).network(architecture)
    else:
        diagram, insets = folded(architecture, layers)
    network = place_diagram(diagram)
    placed = [place_inset(inset) for inset in insets]
    page = compose(network.layout, [(inset.width, inset.height) for inset in placed])
    report = analyze(architecture)
    about = f"{short(report.params)} parameters · {short(report.macs)} MACs for one input"
    heading, (heading_width, heading_height) = svg.heading(
        title, about, [diagram, *(inset.diagram for inset in insets)], (_MARGIN, 8.0)
    )
    top = heading_height + _MARGIN
    body = [heading, *svg.diagram(replace(network, layout=page.network), (_MARGIN, top), kind="network")]
    for inset, (x, y) in zip(placed, page.insets, strict=True):
        body += svg.inset(inset, (_MARGIN + x, top + y))
    width = max(page.width, heading_width) + 2 * _MARGIN
    return svg.document(title, body, width, top + page.height + _MARGIN)
