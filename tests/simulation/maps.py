"""Small maps made by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trafficrl.simulation.programs import sumo_program

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OSM, OPENDRIVE = EXAMPLES / "town.osm", EXAMPLES / "stadium.xodr"


def plain_network(
    folder: Path, nodes: dict[str, tuple[float, float]], edges: list[str], *options: str
) -> Path:
    """A network of SUMO's from nodes and ``<edge>`` elements."""
    node_file, edge_file = folder / "plain.nod.xml", folder / "plain.edg.xml"
    node_file.write_text(
        "<nodes>"
        + "".join(f'<node id="{name}" x="{x}" y="{y}"/>' for name, (x, y) in nodes.items())
        + "</nodes>"
    )
    edge_file.write_text(f"<edges>{''.join(edges)}</edges>")
    net = folder / "plain.net.xml"
    subprocess.run(
        [
            sumo_program("netconvert"),
            f"--node-files={node_file}",
            f"--edge-files={edge_file}",
            f"--output-file={net}",
            "--no-turnarounds",
            *options,
        ],
        check=True,
        capture_output=True,
    )
    return net
