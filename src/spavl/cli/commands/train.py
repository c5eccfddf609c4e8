"""spavl train: train a model on any data set, by one objective, and merge a LoRA checkpoint."""

import argparse
import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

from spavl.cli.options import add_dry_run, add_out, add_preset, add_settings, names_of, settings_of
from spavl.cli.parser import Command, CommandParser
from spavl.cli.silence_libraries import silence_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import Option, sections
from spavl.data.dataset.config import DatasetConfig
from spavl.errors import StoreError
from spavl.models.factory import checkpoint_path
from spavl.models.remote_code import OPTION, WHO_IS_TRUSTED, names_typed
from spavl.pipeline.build import check_training, refuse_another_training, run_build, run_worker_process
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.report import terminal
from spavl.pipeline.settings import preset_names, read_config, read_preset
from spavl.publishing.importing.bring_in import bring_in, holds, origin_of
from spavl.publishing.importing.row_checks import RowsRead, how_to_use
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE, folder_name
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed

_OBJECTIVES: tuple[str, ...] = get_args(TrainingConfig.model_fields["algorithm"].annotation)
# Settings of the whole pipeline that apply to training.
_OF_ALL = ("seed", "trust_remote_code")
# By objective: those that are trained before it, with settings of their own; and the settings that it does not read.
_BEFORE = {"ppo": ("reward",)}
_UNREAD = {
    "reward": ("epochs", "batch_size", "loop", "validation.guard", "validation.questions", "validation.max_tokens"),
    "ppo": ("batch_size",),
}


def _add_train_options(objective: str, parser: CommandParser) -> None:
    presets = [name for name, trains in preset_names().items() if trains == objective]
    parser.add_argument(
        "--model", required=True, help="the model to train: a folder, a run, a hub id, miniature/base or miniature/qwen"
    )
    parser.add_argument(
        "--data",
        required=True,
        help="a run, a folder of tables (Parquet, JSON, CSV) in the form of SPA-VL, spavl or a trainer, or a hub id",
    )
    add_out(parser, "RUN", f"the run folder (default: runs/DATA-{objective}-MODEL)")
    add_preset(parser, presets, default=objective if objective in presets else "")
    add_dry_run(parser, "print what would be trained, memory, tokens and time; write nothing")
    # The reward model has a loop of its own.
    parts = (objective, f"{objective}.loop", "loop", "trainable", "validation")
    prefixes = ("training", *(f"training.{part}" for part in parts))
    add_settings(parser, _settings(objective), sections(BuildConfig), prefixes, own=f"training.{objective}")
    own = {option.name for option in _settings(objective)}
    for other in _OBJECTIVES:
        for option in _settings(other):
            if option.name not in own:
                for name in names_of(option, ("training", f"training.{other}")):
                    parser.of_others.setdefault(name, f"spavl train {other}")


def _settings(objective: str) -> Iterator[Option]:
    """The settings of training, except those that the command itself sets and those of other objectives."""
    others = {name for name in _OBJECTIVES if name not in (objective, *_BEFORE.get(objective, ()))}
    without = [f"training.{name}" for name in ("model", "algorithm", *_UNREAD.get(objective, ()), *others)]
    for option in settings_of(BuildConfig, without):
        if option.name in _OF_ALL or option.name.startswith("training."):
            yield option


def _train(objective: str, options: argparse.Namespace) -> None:
    config = _config(objective, options)
    model = config.training.model if config.training else ""
    out = options.out or Path("runs") / f"{_name_of_data(options.data)}-{objective}-{_name_of_model(model)}"
    distributed.check_packages()
    distributed.refuse_plugins()
    silence_libraries()
    screen = Screen()
    if options.dry_run:
        # The estimate covers all processes, and one process can make it.
        if distributed.is_first():
            _estimate_training(config, options.data, out, screen)
        return
    if not distributed.is_first():
        distributed.wait_for_all()
        run_until_told(run_worker_process(config, out))
        return
    run_until_told(check_training(config, out, screen))
    _import_data(options.data, out, screen, _rows_read(config))
    refuse_another_training(config, out)
    distributed.wait_for_all()
    summary = run_until_told(run_build(config, out, None, screen))
    tell(*terminal.curves(out), *terminal.lines(summary))
    tell(f"checkpoint: {out / 'checkpoints' / ('reward' if objective == 'reward' else 'aligned')}")
    tell(f"report: {out / 'report.html'}")
    tell(*_next_steps(objective, options, out))


def _next_steps(objective: str, options: argparse.Namespace, out: Path) -> Iterator[str]:
    if objective == "reward":
        yield "next, train a model with its rewards:"
        words = ["spavl", "train", "ppo", "--model", options.model, "--data", options.data]
        yield f"  {shlex.join([*words, '--reward', str(out)])}"
        return
    yield "next, evaluate before and after on the questions of its test splits, judged by models of your choice:"
    words = ["spavl", "build", str(out / "config.toml"), "--out", str(out)]
    asked = ["--evaluation.before", options.model, "--evaluation.guard", "MODEL", "--evaluation.judge", "MODEL"]
    yield f"  {shlex.join([*words, *asked])}"


def _config(objective: str, options: argparse.Namespace) -> BuildConfig:
    """The settings of a preset, by default the one that is named like the objective, overridden by the options."""
    typed = {**options.settings, "training.algorithm": objective, "training.model": options.model}
    name = options.preset or (objective if objective in preset_names() else None)
    config = read_config(read_preset(name) if name else {}, typed, where=f"spavl train {objective}")
    assert config.training is not None
    # A model that cannot be trained is refused before any data is fetched.
    checkpoint_path(config.training.model)
    return config


def _name_of_model(model: str) -> str:
    """The short name of a model; for a checkpoint of a run, with the run's name."""
    kind, _, name = model.partition("/")
    if kind == "miniature":
        return kind if name == "base" else f"{kind}-{name}"
    path = Path(model.removeprefix("hf/"))
    path = path.resolve() if path.is_dir() else path
    run = f"{path.parents[1].name}-" if path.parent.name == "checkpoints" else ""
    return folder_name(run + path.name)


def _name_of_data(data: str) -> str:
    return Path(data).resolve().name if Path(data).is_dir() else data.rpartition("/")[2]


def _estimate_training(config: BuildConfig, data: str, out: Path, screen: Screen) -> None:
    from spavl.training.dry_run.estimate import estimate_training
    from spavl.training.dry_run.table import page

    assert config.training is not None
    with _opened_data(data, out, screen, _rows_read(config)) as run:
        samples = [sample for sample in run.read("dataset", Sample) if sample.split == "train"]
        training_estimate = estimate_training(
            config.training, samples, run.blobs.get, config.seed, screen, config.trust_remote_code
        )
    tell(*page(training_estimate))


def _rows_read(config: BuildConfig) -> RowsRead:
    return RowsRead(one_answer=config.training is not None and config.training.algorithm == "sft")


@contextlib.contextmanager
def _opened_data(data: str, out: Path, screen: Screen, reads: RowsRead) -> Iterator[RunFolder]:
    """The run's data set if it is already imported, else an import into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="spavl-") as folder:
        source = _source_of(data)
        held = holds(out, origin_of(source))
        place = out if held else Path(folder) / "run"
        if not held:
            bring_in(source, place, DatasetConfig(), screen, reads)
        with RunFolder(place, look_only=True) as run:
            yield run


def _import_data(data: str, out: Path, screen: Screen, reads: RowsRead) -> None:
    """Import the data set into the run, unless an earlier start has already imported it."""
    source = _source_of(data)
    if holds(out, origin_of(source)):
        return
    imported = bring_in(source, out, DatasetConfig(), screen, reads)
    if imported.rejects:
        screen.say("left out: " + ", ".join(f"{number:,} {reason}" for reason, number in imported.rejects.items()))
    for then in how_to_use(imported.rejects):
        screen.say(then)
    if imported.leaks:
        screen.say(f"warning: {len(imported.leaks):,} leaks between splits, listed in {out / 'leaks.jsonl'}")


def _source_of(data: str) -> str:
    """The data set behind a name; for a run, the one that it has built."""
    if not (Path(data) / RUN_FILE).is_file():
        return data
    if not (folder := Path(data) / "dataset").is_dir():
        then = "type its spavl build again, which goes on where it was left"
        raise StoreError("this run has no finished data set", where=data, then=then)
    return str(folder)


def _add_merge_options(parser: CommandParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run that trained with LoRA, or its adapter's folder")
    add_out(parser, "FOLDER", "where the whole model is written", is_needed=True)
    parser.add_argument(OPTION, default="", metavar="MODEL", help=WHO_IS_TRUSTED)


def _merge(options: argparse.Namespace) -> None:
    silence_libraries()
    from spavl.training.model.trainable import merge

    inside = options.run / "checkpoints" / "aligned"
    merge(inside if inside.exists() else options.run, options.out, names_typed(options.trust_remote_code))
    tell(f"merged into {options.out}; any server of transformers' models loads it")
    model = shlex.quote(str(options.out))
    tell(f"next:  spavl eval {model} --suite safety --data FOLDER --guard MODEL --dry-run")


def _command(objective: str, does: str) -> Command:
    add_options, run = partial(_add_train_options, objective), partial(_train, objective)
    return Command(f"train {objective}", does, add_options, run, "--model MODEL --data DATA")


COMMANDS = (
    _command("dpo", "align a model on the pairs of a data set"),
    _command("sft", "fine-tune a model on the chosen answers of a data set"),
    _command("reward", "train a reward model on the pairs of a data set"),
    _command("ppo", "align a model by rewards for its own answers"),
    Command(
        "train merge",
        "merge a LoRA checkpoint into a whole model, for servers that load no adapters",
        _add_merge_options,
        _merge,
        "RUN --out FOLDER",
    ),
)
