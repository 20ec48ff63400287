"""The lineage graph as one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from floe_dagster.lineage.graph import Graph

_WIDTH, _HEIGHT = 260, 44
_GAP_X, _GAP_Y, _MARGIN = 90, 16, 20
_SWEEPS = 4


def page(title: str, graph: Graph, found: Mapping[str, Any]) -> str:
    """Draw a graph; `found` is its document, which the page shows in parts."""
    layers = _layers(graph)
    places = {
        uid: {
            "x": _MARGIN + number * (_WIDTH + _GAP_X),
            "y": _MARGIN + row * (_HEIGHT + _GAP_Y),
        }
        for number, layer in enumerate(layers)
        for row, uid in enumerate(layer)
    }
    drawing = {
        "places": places,
        "box": {"width": _WIDTH, "height": _HEIGHT},
        "width": 2 * _MARGIN + len(layers) * (_WIDTH + _GAP_X),
        "height": 2 * _MARGIN + max(map(len, layers), default=0) * (_HEIGHT + _GAP_Y),
    }
    template = files("floe_cli").joinpath("templates", "lineage.html").read_text(encoding="utf-8")
    return template.replace("@TITLE@", escape(title)).replace(
        "@DATA@", _inside_script({"graph": found, "drawing": drawing})
    )


def _inside_script(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _layers(graph: Graph) -> list[list[str]]:
    """Nodes by their distance from the sources, each layer ordered so that few edges cross."""
    parents: dict[str, list[str]] = {uid: [] for uid in graph.nodes}
    children: dict[str, list[str]] = {uid: [] for uid in graph.nodes}
    for parent, child in graph.edges:
        parents[child].append(parent)
        children[parent].append(child)
    depth: dict[str, int] = {}
    for uid in graph.nodes:  # parents come first
        depth[uid] = 1 + max((depth.get(parent, -1) for parent in parents[uid]), default=-1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for uid, number in depth.items():
        layers[number].append(uid)
    for sweep in range(_SWEEPS):
        around = parents if sweep % 2 == 0 else children
        row = {uid: index for layer in layers for index, uid in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=lambda uid: _middle(uid, around[uid], row))
            row |= {uid: index for index, uid in enumerate(layer)}
    return layers


def _middle(uid: str, around: list[str], row: Mapping[str, int]) -> float:
    return sum(row[other] for other in around) / len(around) if around else float(row[uid])
