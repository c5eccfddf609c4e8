"""spavl data push: publish a finished data set on a hub."""

import argparse
from pathlib import Path

from spavl.data.dataset.config import SPEC
from spavl.publishing.finished import open_finished
from spavl.publishing.push import push
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder, such as runs/demo")
    parser.add_argument("repo", metavar="REPO", help="the repository's OWNER/NAME; it is made if it is not there")
    parser.add_argument("--private", action="store_true", help="if it is made, only its owner may see it")
    help_ = "publish texts that look like keys and open nothing; a key that this machine holds is never published"
    parser.add_argument("--allow-key-shapes", action="store_true", help=help_)


def run(options: argparse.Namespace) -> None:
    with open_finished(options.run) as finished:
        folder = finished.path / SPEC.stage
        done = push(folder, options.repo, options.private, Screen(), options.allow_key_shapes)
    tell(f"{done.uploaded} shards uploaded, {done.there_before} were there; {done.commits} commits: {done.url}")
