"""Builds a command that runs the benchmarks of ability in lmms-eval, for users who want its numbers."""

import shlex
from collections.abc import Iterable

from spavl.errors import ConfigError
from spavl.models.names import parse_served_name

# The version of lmms-eval that has these names of models and tasks.
VERSION = "0.7.3"
TASKS = {
    "pope": "pope",
    "scienceqa": "scienceqa",
    "mmbench": "mmbench_en_dev",
    "seed": "seedbench",
    "textvqa": "textvqa_val",
    "gqa": "gqa",
    "vqav2": "vqav2_val",
    "vizwiz": "vizwiz_vqa_val",
}


def command(model: str, benchmarks: Iterable[str] = TASKS) -> str:
    """The command by which lmms-eval runs the same benchmarks on the model; it downloads the data itself."""
    if strange := [name for name in benchmarks if name not in TASKS]:
        then = f"it can be asked for {', '.join(TASKS)}"
        raise ConfigError(f"lmms-eval has no task for {', '.join(strange)}", then=then)
    kind, _, rest = model.partition("/")
    if kind == "openai":
        _, name, urls = parse_served_name(rest)
        asked = ["openai", f"model_version={name}" + (f",base_url={urls[0]}" if urls else "")]
    elif kind == "hf":
        asked = ["huggingface", f"pretrained={rest}"]
    else:
        raise ConfigError("lmms-eval cannot ask this model", where=model, then="name one as openai/NAME@URL or hf/PATH")
    tasks = ",".join(TASKS[name] for name in benchmarks)
    words = ["--model", asked[0], "--model_args", asked[1], "--tasks", tasks, "--output_path", "lmms-eval"]
    return shlex.join(["python", "-m", "lmms_eval", *words, "--log_samples"])
