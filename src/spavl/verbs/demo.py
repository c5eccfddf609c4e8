"""spavl demo: walk the road of the settings that ship, on the miniature."""

import argparse

from spavl.verbs.build import add_road_options as add_options
from spavl.verbs.build import run_road

__all__ = ["add_options", "run"]


def run(options: argparse.Namespace) -> None:
    run_road("demo", "demo", options)
