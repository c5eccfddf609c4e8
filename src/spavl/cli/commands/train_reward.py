"""spavl train reward: teach a model to tell which answer is better."""

import argparse

from spavl.cli.commands.train import add_train_options, run_training


def add_options(parser: argparse.ArgumentParser) -> None:
    add_train_options(parser, "reward")


def run(options: argparse.Namespace) -> None:
    run_training("reward", options)
