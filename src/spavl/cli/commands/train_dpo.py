"""spavl train dpo: align a model on the pairs of a data set."""

import argparse

from spavl.cli.commands.train import add_train_options, run_training


def add_options(parser: argparse.ArgumentParser) -> None:
    add_train_options(parser, "dpo")


def run(options: argparse.Namespace) -> None:
    run_training("dpo", options)
