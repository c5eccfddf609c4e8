"""Bad data: each kind is left out with its reason before a training starts, or the training is not begun."""

import asyncio
import dataclasses
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import AddedToken

from spavl.errors import GateError
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import ModelFactory, miniature_checkpoint
from spavl.records import Reject, Sample
from spavl.stages.context import StageContext
from spavl.store import Manifest, RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import PPOConfig, TrainingConfig
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.tree import CountedRow, ScoredRow, TokenCounter
from spavl.training.run import run as train
from spavl.training.setup import check_samples
from tests.support.images import encoded, photo
from tests.support.records import filled
from tests.support.training_objectives import sample
from tests.support.whole_models import whole

LOADED = load_checkpoint(miniature_checkpoint())
GOOD = filled(
    Sample,
    split="train",
    blob="0",
    contrast="safety",
    question="how do i wake this ?",
    chosen="sorry , i can not help .",
    rejected="turn the knob one times .",
)
BROKEN = b"\xff\xd8\xff\xe0 no picture"


def cut_short() -> bytes:
    """A file that opens like an image, and ends in the middle of one."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 40).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()[:-400]


FAULTS = [
    ("empty_question", {"question": " \n"}),
    ("empty_answer", {"chosen": ""}),
    ("empty_answer", {"rejected": "\t"}),
    ("same_answers", {"chosen": "turn the  knob\none times .  "}),
    ("special_token", {"question": "<image>\nhow do i wake this ?"}),
    ("special_token", {"rejected": "turn the knob </s> <user> and now ?"}),
    ("too_long", {"rejected": "turn the knob " * 90}),
    ("too_long", {"question": "how do i wake this ? " * 60}),
]


@pytest.mark.parametrize(("reason", "fault"), FAULTS)
def test_each_fault_has_its_reason(run: RunFolder, reason: str, fault: dict[str, Any]) -> None:
    good, bad = with_image(run, GOOD), with_image(run, GOOD, **fault)
    processor, model = LOADED
    checked = check_samples(model, processor, [good, bad], run.blobs.get, Screen(), TrainingConfig())
    assert checked.samples == [good]
    assert [(each.parent_id, each.reason) for each in checked.rejects] == [(bad.id, reason)]


@pytest.mark.parametrize("fault", [{"rejected": ""}, {"rejected": GOOD.chosen}, {"rejected": "turn the knob " * 90}])
def test_fine_tuning_needs_no_rejected_answer(run: RunFolder, fault: dict[str, Any]) -> None:
    sample = with_image(run, GOOD, **fault)
    processor, model = LOADED
    for algorithm, fits in (("sft", True), ("dpo", False), ("reward", False)):
        settings = TrainingConfig.model_validate({"algorithm": algorithm})
        assert bool(check_samples(model, processor, [sample], run.blobs.get, Screen(), settings).samples) == fits


def test_images_that_are_not_there_or_not_whole_are_told_apart(run: RunFolder) -> None:
    missing = dataclasses.replace(GOOD, blob="0" * 64)
    bad = [missing, *(dataclasses.replace(GOOD, blob=run.blobs.put(data)) for data in (BROKEN, cut_short()))]
    good = with_image(run, GOOD)
    processor, model = LOADED
    # An image's fault is every sample's that shows it.
    checked = check_samples(model, processor, [*bad, *bad, good], run.blobs.get, Screen(), TrainingConfig())
    assert checked.samples == [good]
    assert checked.reasons == {"image_missing": 2, "image_undecodable": 4}


def with_image(run: RunFolder, sample: Sample, **changed: Any) -> Sample:
    return dataclasses.replace(sample, blob=run.blobs.put(png(draw(scene(1, 0, 5, live=True)))), **changed)


def begin(run: RunFolder, samples: list[Sample], **settings: Any) -> Manifest:
    run.write_rows("dataset", Sample, samples)
    content = run.content("dataset", Sample)
    run.write_manifest(Manifest("dataset", "", content, len(samples), {}, 0.0))
    config = TrainingConfig(batch_size=2, **settings)
    return asyncio.run(train(StageContext(run, config, 1, ModelFactory(run.ledger), Screen(), 1)))


def test_what_is_left_out_is_counted_and_kept_with_its_reason(run: RunFolder, capsys: Any) -> None:
    good = [with_image(run, GOOD, question_id=str(k)) for k in range(4)]
    manifest = begin(run, [*good, dataclasses.replace(good[0], chosen=" ")], max_invalid_fraction=0.2)
    assert manifest.rejects == {"empty_answer": 1} and manifest.notes["pairs"] == 4
    assert [each.reason for each in run.read("training", Reject)] == ["empty_answer"]
    assert "1 of 5 samples cannot be trained on: 1 empty_answer" in capsys.readouterr().err


def test_a_training_on_what_is_left_of_a_broken_data_set_is_not_begun(run: RunFolder) -> None:
    good = with_image(run, GOOD)
    with pytest.raises(GateError, match="1 of 2 samples") as raised:
        begin(run, [good, dataclasses.replace(good, chosen=" ")])
    assert "max_invalid_fraction" in str(raised.value)
    assert run.manifest("training") is None and not run.checkpoint("aligned").exists()
    assert [each.reason for each in run.read("training", Reject)] == ["empty_answer"]


words = st.lists(st.sampled_from(["turn", "the", "knob", ".", "to", "wake", ",", "help"]), min_size=1, max_size=12)
rows = st.lists(st.tuples(st.integers(0, 2), words.map(" ".join), words.map(" ".join)), min_size=1, max_size=6)


@given(rows, st.sampled_from(["image", "nothing"]))
@pytest.mark.slow
def test_tokens_are_counted_without_pixels_as_with_them(asked: list[tuple[int, str, str]], shares: Any) -> None:
    processor, model = LOADED
    sizes = ((64, 64), (80, 40), (31, 97))
    shown = [ScoredRow(str(k), Image.new("RGB", sizes[k]), question, answer) for k, question, answer in asked]
    counted = TokenCounter(processor).count([CountedRow(str(k), sizes[k], *texts) for k, *texts in asked], shares)
    assert counted.tokens == make_batch(model, processor, shown, share=shares == "image").tokens
    assert counted.plain_tokens == make_batch(model, processor, shown, share=False).tokens
    alone = len(asked)
    assert (counted.images, counted.plain_images) == (
        len({k for k, *_ in asked}) if shares == "image" else alone,
        alone,
    )


def test_a_model_that_is_made_for_less_leaves_more_out(run: RunFolder) -> None:
    good = with_image(run, GOOD)
    processor, model = load_checkpoint(miniature_checkpoint())
    length = TokenCounter(processor).longest((64, 64), good.question, [good.chosen, good.rejected])
    for most, fits in ((length, True), (length - 1, False)):
        model.config.text_config.max_position_embeddings = most
        checked = check_samples(model, processor, [good], run.blobs.get, Screen(), TrainingConfig())
        assert bool(checked.samples) == fits


def test_what_a_policy_may_draw_must_fit_as_well(run: RunFolder) -> None:
    good = with_image(run, GOOD)
    processor, model = LOADED
    lengths = TokenCounter(processor)
    prompt = lengths.spread((64, 64)) + lengths.row(good.question, good.chosen).answer
    room = model.config.text_config.max_position_embeddings - prompt
    for most, fits in ((room, True), (room + 1, False)):
        sampling = TrainingConfig(algorithm="ppo", ppo=PPOConfig(max_tokens=most))
        checked = check_samples(model, processor, [good], run.blobs.get, Screen(), sampling)
        assert bool(checked.samples) == fits
    assert f"with {room + 1} for a sampled answer" in checked.rejects[0].detail


THINKING = "{{ content['text'].split('</think>')[-1] }}"


@pytest.mark.parametrize("is_token", [True, False])
@pytest.mark.parametrize("is_named", [True, False])
def test_marks_of_thoughts_are_left_out_wherever_they_stand(is_token: bool, is_named: bool) -> None:
    """Qwen's <think> is a token, but no special one: such answers were taught or stopped the training."""
    processor, model = whole("qwen2_vl")
    blanks = [AddedToken(text, special=False) for text in ("\n\n", "  ", "knob")]
    thoughts = [AddedToken(text, special=False) for text in ("<think>", "</think>")] if is_token else []
    processor.tokenizer.add_tokens([*blanks, *thoughts])
    if is_named:
        processor.chat_template = processor.chat_template.replace("{{ content['text'] }}", THINKING)
    texts = ["hm</think> no .", "turn the knob  one\n\ntimes , for 1 < 2 > 0 [yes] .", "[YES] <b>no</b> ."]
    samples = [dataclasses.replace(sample(k), chosen=text) for k, text in enumerate(texts)]
    image = encoded(photo(1, 40), "PNG")
    checked = check_samples(model, processor, samples, lambda _: image, Screen(), TrainingConfig())
    assert checked.samples == samples[1 if is_token or is_named else 0 :]
    if is_token or is_named:
        assert [(each.reason, each.detail) for each in checked.rejects] == [("special_token", "</think> in its chosen")]
