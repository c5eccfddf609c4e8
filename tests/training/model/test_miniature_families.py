"""The families of the miniature: what is made by hand in their training is what their own processors make."""

from typing import Any

import pytest
import torch

from spavl.errors import ConfigError, TrainingError
from spavl.miniature.checkpoints import CHECKPOINTS
from spavl.miniature.lessons import Lesson, lesson
from spavl.miniature.world import SIZE, draw, scene
from spavl.models.backends.hf import checkpoint_name
from spavl.models.factory import ModelFactory, checkpoint_path, miniature_checkpoint, open_here
from spavl.models.uri import model_uri
from spavl.store import RunFolder
from spavl.training.model.anatomy import parts_of
from spavl.training.model.miniature import SCHEDULES, lesson_batch
from spavl.training.model.miniature_families import FAMILIES, PATCH, at_size, size_of
from spavl.training.prefix_trees import batch as batches
from spavl.training.prefix_trees.attention import family_of
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.startup_checks import check_sharing
from spavl.training.prefix_trees.tree import ScoredRow
from tests.support.model_families import let_mistakes_show

LESSONS = [lesson(3, number) for number in range(40)]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    torch.manual_seed(0)
    made = FAMILIES[request.param]
    return request.param, made.new_processor(), made.new_model()


def shown(name: str, each: Lesson) -> Any:
    return at_size(each.scene, size_of(each.scene)) if name == "qwen2_vl" else draw(each.scene)


def test_every_shipped_checkpoint_has_a_family_and_a_schedule() -> None:
    assert [shipped.family for shipped in CHECKPOINTS.values()] == list(FAMILIES) == list(SCHEDULES)
    for name in CHECKPOINTS:
        assert model_uri(f"miniature/{name}") == f"miniature/{name}"
        assert checkpoint_path(f"miniature/{name}") == miniature_checkpoint(name)
    with pytest.raises(ConfigError, match="only models in this process can be trained"):
        checkpoint_path("miniature/careful")


def test_a_shipped_checkpoint_is_a_model_of_its_own_and_personas_are_those_of_the_first(run: RunFolder) -> None:
    models = ModelFactory(run.ledger)
    names = {name: models.open(f"miniature/{name}", "responses").name for name in ("base", "careful", "qwen")}
    assert names["qwen"] == checkpoint_name(miniature_checkpoint("qwen")) == open_here("miniature/qwen").name
    assert names["careful"].startswith(names["base"]) and not names["qwen"].startswith(names["base"])


def test_the_batches_of_its_training_are_those_of_its_processor(family: tuple[str, Any, Any]) -> None:
    """Otherwise the model would be trained on other tokens, pixels or places than it is asked with."""
    name, processor, model = family
    by_hand = lesson_batch(FAMILIES[name], model, processor.tokenizer, LESSONS)
    rows = [
        ScoredRow(str(number), shown(name, each), each.request, each.answer, each.system)
        for number, each in enumerate(LESSONS)
    ]
    by_processor = make_batch(model, processor, rows, share=False)
    assert by_hand.inputs.keys() == by_processor.inputs.keys()
    for key, value in by_processor.inputs.items():
        torch.testing.assert_close(by_hand.inputs[key].to(value.dtype), value, atol=1e-6, rtol=0, msg=key)
    for place in ("row_T", "place_T", "token_T", "answer_T", "end_row_B", "end_place_B"):
        assert torch.equal(getattr(by_hand, place), getattr(by_processor, place)), place
    assert (by_hand.answers, by_hand.tokens) == (by_processor.answers, by_processor.tokens)
    assert by_processor.tokens == int(by_hand.inputs["attention_mask"].sum())


def test_no_word_is_unknown_to_its_tokenizer(family: tuple[str, Any, Any]) -> None:
    _, processor, _ = family
    tokenizer = processor.tokenizer
    for each in LESSONS:
        for text in filter(None, (each.system, each.request, each.answer)):
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in tokens and tokenizer.decode(tokens) == text


def test_its_parts_are_told_apart_and_all_of_them_are_trained_in_one_of_the_two_trainings(
    family: tuple[str, Any, Any],
) -> None:
    name, _, model = family
    own, parts = FAMILIES[name], parts_of(model)
    assert set(parts.values()) == {"vision", "projector", "language"}
    seen = {id(each) for each in own.tower(model).parameters()} - {
        id(each) for each in own.unread(own.tower(model)).parameters()
    }
    spoken = {id(each) for path, each in model.named_parameters() if parts[path] != "vision"}
    left = [path for path, each in model.named_parameters() if id(each) not in seen | spoken]
    assert all("post_layernorm" in path for path in left) and not seen & spoken


def test_the_sibling_of_qwen2_vl_takes_images_of_any_size() -> None:
    processor = FAMILIES["qwen2_vl"].new_processor()

    def tokens(high: int, wide: int) -> int:
        image = draw(scene(0, 0, 0, live=True)).resize((wide, high))
        made = processor(images=[[image]], text=["<|image_pad|>"], return_tensors="pt")
        return int((made["input_ids"] == processor.image_token_id).sum())

    side = PATCH * processor.image_processor.merge_size
    sizes = {size_of(each.scene) for each in (lesson(0, number) for number in range(100))}
    assert len(sizes) == 4 and (SIZE, SIZE) in sizes
    assert {size: tokens(*size) for size in sizes} == {(h, w): h * w // side**2 for h, w in sizes}
    assert tokens(480, 640) <= 9 and tokens(20, 20) >= 4


def rows_of_two_images() -> list[ScoredRow]:
    """Two images of different sizes, asked two questions with two answers each."""
    images = [
        at_size(scene(k, 0, 5, live=True), size) for k, size in enumerate([(SIZE, SIZE), (SIZE, SIZE + 2 * PATCH)])
    ]
    return [
        ScoredRow(str(number), image, question, answer)
        for number, image in enumerate(images)
        for question in ("how do i wake this ?", "in our play , how would a keeper lift this ?")
        for answer in ("sorry , i can not help .", "turn the knob one times .")
    ]


def test_trees_of_the_sibling_of_qwen2_vl_are_exact_and_need_its_three_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    own = FAMILIES["qwen2_vl"]
    processor, model = own.new_processor(), let_mistakes_show(own.new_model().train())
    moved = check_sharing(model, processor, rows_of_two_images())
    assert moved.scores < 1e-4 and moved.gradients is not None and moved.gradients < 1e-4
    # The places of a row counted one by one, as in a model without positions of height and width.
    wrong = family_of(model)._replace(row_positions=None)
    monkeypatch.setattr(batches, "family_of", lambda model: wrong)
    with pytest.raises(TrainingError, match="share_prefixes = false"):
        check_sharing(model, processor, rows_of_two_images())
