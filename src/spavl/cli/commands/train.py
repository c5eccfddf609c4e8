"""What the verbs of training share: a model, data of any form, a preset, and the training stage alone."""

import argparse
import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from spavl.cli.silence_libraries import quiet_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import Option
from spavl.config import options as settings_options
from spavl.data.dataset.config import DatasetConfig
from spavl.errors import ConfigError, StoreError
from spavl.models.factory import checkpoint_path
from spavl.models.names import pinned
from spavl.pipeline.build import check_training, drive, follow, refuse_another_training
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.report import terminal
from spavl.pipeline.settings import preset_names, read_config, read_preset
from spavl.publishing.importing.bring_in import HOW_TO_KEEP, bring_in, holds, origin_of
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE, folder_name
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed

_SECTION = "training."
# Who may run code of its own, which is asked of every command that opens models.
_TRUST = "trust_remote_code"
# What is trained before, with settings of its own; and what has a place of its own in a way's section.
_BEFORE = {"ppo": ("reward",)}
_UNREAD = {
    "reward": ("epochs", "batch_size", "loop", "validation.guard", "validation.questions", "validation.max_tokens"),
    "ppo": ("batch_size",),
}


def add_train_options(parser: argparse.ArgumentParser, by: str) -> None:
    presets = [name for name, how in preset_names().items() if how == by]
    begun = f" (default: {by})" if by in presets else ""
    parser.add_argument("--model", required=True, help="the model to align: a folder, a hub id, or miniature/base")
    parser.add_argument(
        "--data", required=True, help="a run, a folder of Parquet files in SPA-VL's, spavl's or TRL's form, or a hub id"
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help=f"the run folder (default: runs/DATA-{by}-MODEL)")
    parser.add_argument(
        "--preset", choices=presets, metavar="NAME", help=f"settings to begin with: {', '.join(presets)}{begun}"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would learn, memory, tokens and time; nothing is written"
    )
    parser.add_argument("--seed", default=argparse.SUPPRESS, help="everything random comes from this number")
    settings = parser.add_argument_group("settings", f"the same names as in a TOML file's [{_SECTION[:-1]}]")
    for option in _settings(by):
        text = option.help if option.default is None else f"{option.help} (default: {option.spelled})"
        settings.add_argument(
            *option._replace(name=option.name.removeprefix(_SECTION)).flags,
            dest=option.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )


def run_training(by: str, options: argparse.Namespace) -> None:
    config = _config(by, options)
    out = options.out or Path("runs") / f"{_named(options.data)}-{by}-{_name_of_model(options.model)}"
    distributed.check_packages()
    distributed.refuse_plugins()
    quiet_libraries()
    screen = Screen()
    if options.dry_run:
        # It tells of all processes, and one can do that.
        if distributed.is_first():
            _estimate_training(config, options.data, out, screen)
        return
    if not distributed.is_first():
        distributed.wait_for_all()
        run_until_told(follow(config, out))
        return
    run_until_told(check_training(config, out, screen))
    _bring_data(options.data, out, screen)
    refuse_another_training(config, out)
    distributed.wait_for_all()
    summary = run_until_told(drive(config, out, None, screen))
    tell(*terminal.curves(out), *terminal.lines(summary))
    tell(f"checkpoint: {out / 'checkpoints' / ('reward' if by == 'reward' else 'aligned')}")
    tell(f"report: {out / 'report.html'}")
    if by == "reward":
        tell("now, a model that learns from its rewards:")
        words = ["spavl", "train", "ppo", "--model", options.model, "--data", options.data]
        tell(f"  {shlex.join([*words, '--ppo.reward', f'reward/{out}/checkpoints/reward'])}")
        return
    tell("now, before and after on the questions of its test splits, judged by models of your choice:")
    words = ["spavl", "build", str(out / "config.toml"), "--out", str(out)]
    asked = ["--evaluation.before", _model(options.model), "--evaluation.guard", "MODEL", "--evaluation.judge", "MODEL"]
    tell(f"  {shlex.join([*words, *asked])}")


def _config(by: str, options: argparse.Namespace) -> BuildConfig:
    """A preset, or what the verb begins with, and the options over it."""
    given = vars(options)
    laid_over = {option.name: str(given[option.name]) for option in _settings(by) if option.name in given}
    laid_over |= {"training.algorithm": by, "training.model": _model(options.model)}
    if "seed" in given:
        laid_over["seed"] = options.seed
    name = options.preset or (by if by in preset_names() else None)
    return read_config(read_preset(name) if name else {}, laid_over, where=f"spavl train {by}")


def _settings(by: str) -> Iterator[Option]:
    """The settings of training but for those that the verb itself answers, and those of other ways to train."""
    ways = get_args(TrainingConfig.model_fields["algorithm"].annotation)
    others = {f"{_SECTION}{other}." for other in ways if other not in (by, *_BEFORE.get(by, ()))}
    answered = {f"{_SECTION}{name}" for name in ("model", "algorithm", *_UNREAD.get(by, ()))}
    for option in settings_options(BuildConfig):
        section = option.name.rpartition(".")[0]
        elsewhere = {option.name, section} & answered or option.name.startswith(tuple(others))
        if option.name == _TRUST or (option.name.startswith(_SECTION) and not elsewhere):
            yield option


def _model(name: str) -> str:
    """A model as the settings name it. One that cannot be trained is told before any data is fetched."""
    uri = name if name.startswith(("hf/", "miniature/", "openai/", "vllm/")) else f"hf/{name}"
    path = checkpoint_path(uri)
    if not Path(path).is_dir() and (pinned(path)[0].count("/") != 1 or path.startswith((".", "/"))):
        then = "give a folder with config.json and weights, or a hub's OWNER/NAME"
        raise ConfigError("there is no such folder of a model", where=f"--model {name}", then=then)
    return uri


def _name_of_model(model: str) -> str:
    """Its short name; that of a run's checkpoint tells whose it is."""
    if model == "miniature/base":
        return "miniature"
    path = Path(model.removeprefix("hf/"))
    path = path.resolve() if path.is_dir() else path
    run = f"{path.parents[1].name}-" if path.parent.name == "checkpoints" else ""
    return folder_name(run + path.name)


def _named(data: str) -> str:
    return Path(data).resolve().name if Path(data).is_dir() else data.rpartition("/")[2]


def _estimate_training(config: BuildConfig, data: str, out: Path, screen: Screen) -> None:
    from spavl.training.dry_run.estimate import estimate_training
    from spavl.training.dry_run.table import page

    assert config.training is not None
    with _data_to_look_at(data, out, screen) as run:
        samples = [sample for sample in run.read("dataset", Sample) if sample.split == "train"]
        training_estimate = estimate_training(
            config.training, samples, run.blobs.get, config.seed, screen, config.trust_remote_code
        )
    tell(*page(training_estimate))


@contextlib.contextmanager
def _data_to_look_at(data: str, out: Path, screen: Screen) -> Iterator[RunFolder]:
    """The run's data set if it is there already, else one in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="spavl-") as folder:
        source = source_of(data)
        held = holds(out, origin_of(source))
        place = out if held else Path(folder) / "run"
        if not held:
            bring_in(source, place, DatasetConfig(), screen)
        with RunFolder(place, look_only=True) as run:
            yield run


def _bring_data(data: str, out: Path, screen: Screen) -> None:
    """Have the run hold the data set; what a start before this one brought in is there already."""
    source = source_of(data)
    if holds(out, origin_of(source)):
        return
    brought = bring_in(source, out, DatasetConfig(), screen)
    if brought.rejects:
        screen.say("left out: " + ", ".join(f"{number:,} {reason}" for reason, number in brought.rejects.items()))
    if "system_prompt" in brought.rejects:
        screen.say(HOW_TO_KEEP)
    if brought.leaks:
        screen.say(f"beware: {len(brought.leaks):,} leaks between splits, listed in {out / 'leaks.jsonl'}")


def source_of(data: str) -> str:
    """The data set behind a name: of a run, the one that it has built."""
    if not (Path(data) / RUN_FILE).is_file():
        return data
    if not (folder := Path(data) / "dataset").is_dir():
        then = "type its spavl build again, which goes on where it was left"
        raise StoreError("this run has no finished data set", where=data, then=then)
    return str(folder)
