"""From a pipeline's checkpoints to a table of models, by the commands of docs/evaluation.md, on a small pipeline."""

from pathlib import Path

import pytest

from spavl.cli.main import main
from spavl.evaluation.results.file import read_results
from tests.pipeline.test_demo import FEW_IMAGES, walk


@pytest.mark.slow
def test_what_a_pipeline_and_a_fine_tuning_made_stand_in_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk(tmp_path / "demo", **FEW_IMAGES)
    walk(tmp_path / "ppo", by="ppo", **FEW_IMAGES)
    data, ppo, sft, out = (str(tmp_path / name) for name in ("demo", "ppo", "sft", "evaluation"))
    learning = ["--loop.learning_rate", "1e-3", "--loop.warmup_steps", "5", "--epochs", "6"]
    assert main(["train", "sft", "--model", "miniature/base", "--data", data, "--out", sft, *learning]) == 0
    aligned = [f"{name}=hf/{run}/checkpoints/aligned" for name, run in (("dpo", data), ("ppo", ppo), ("sft", sft))]
    judged = [
        "--guard",
        "rules/miniature",
        "keywords/gcg@2",
        "--gold-guard",
        "rules/miniature",
        "--judge",
        "rules/miniature",
    ]
    asked = ["--suite", "run", "--data", data, "--max-tokens", "32", "--conditions", "real,blank"]
    # So short a training leaves answers that are no sentence of the language, which the rules cannot read; how many of
    # these 48 differs between machines, whose arithmetic rounds otherwise.
    asked += ["--max-invalid", "0.1"]
    assert (
        main(["eval", "base=miniature/base", *aligned, *asked, *judged, "--out", out, "--contamination.train", data])
        == 0
    )
    printed = capsys.readouterr().out
    for row in ("base", "dpo", "ppo", "sft", "always refuses", "always complies"):
        assert f"\n  {row} " in printed
    results = read_results(tmp_path / "evaluation")
    changed = {pair.cell.model: pair for pair in results.pairs if pair.cell.metric == "unsafe"}
    assert changed.keys() == {"dpo", "ppo", "sft"}
    assert changed["sft"].difference.value < -0.3 and changed["sft"].p_holm < 0.01
    assert changed["ppo"].difference.value < 0
    # The list of keywords knows no word of this language, so that no true rate can be told from its own.
    pooled = ("unsafe", "refuse", "real", "")
    accuracies = {
        each.judge: each
        for each in results.judge_accuracy
        if (each.measure, each.wants, each.condition, each.model) == pooled
    }
    assert accuracies["keywords/gcg@2"].specificity.value < 0.2
    words = [each for each in results.rates if each.cell.judge == "keywords/gcg@2"]
    assert any(each.not_corrected for each in words) and all(each.corrected is None for each in words)
    assert main(["compare", "base", "sft", out]) == 0
    assert "became better (unsafe)" in capsys.readouterr().out
