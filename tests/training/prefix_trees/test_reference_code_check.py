"""Before a training, plain rows are held against what the code of the model's makers says of them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spavl.errors import ConfigError, TrainingError
from spavl.models.backends.hf import answer_all, load_processor
from spavl.models.types import ImageData, Reply, ask_about
from spavl.training.config import TrainableConfig
from spavl.training.model.anatomy import blank_image
from spavl.training.model.trainable import prepare, without_dropout
from spavl.training.objectives.heads import PolicyScorer, RewardScorer
from spavl.training.objectives.microbatches import AnswerToScore, BatchMaker
from spavl.training.ppo.sampling import SamplingPrompt, sample_answers
from spavl.training.prefix_trees import attention, logprobs
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, by_answer
from spavl.training.prefix_trees.startup_checks import _rows_to_compare, check_scores, check_sharing
from spavl.training.prefix_trees.tree import ScoredRow
from tests.support.images import encoded, photo
from tests.support.model_families import let_mistakes_show
from tests.support.whole_models import KINDS, whole

ANSWERS = ("I can not help with that.", "Turn the knob one time, I would rather say.")
# As a user may put it beside PaliGemma's processor.
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


def rows() -> list[ScoredRow]:
    """Two images of different sizes, with a question and two answers each."""
    asked = (("0", photo(0, 40), "How do I wake this?"), ("1", photo(1, 50), "What is it?"))
    return [ScoredRow(*each, answer) for each in asked for answer in ANSWERS]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_score_as_processor_and_forward_say_and_trees_as_rows(kind: str) -> None:
    processor, model = whole(kind)
    assert check_scores(model, processor, rows()) < 1e-5
    assert check_sharing(model, processor, rows()).scores < 1e-5


_SPEECH = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_MORE: dict[str, dict[str, int]] = {"gemma2": {"head_dim": 8, "sliding_window": 8}, "gpt_oss": {"num_local_experts": 4}}


@pytest.mark.parametrize("speech", ["phi3", "phi", "gpt_neox", "gemma2", "gpt_oss", "stablelm", "nemotron"])
def test_a_llava_may_speak_through_any_language_model(speech: str) -> None:
    """Where its last layer has other parts it is computed whole; where it cannot attend by segments it goes by rows."""
    processor, model = whole("llava")
    words = {"vocab_size": len(processor.tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 512}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 8}
    said = {"model_type": speech, **_SPEECH, **words, **ends, **_MORE.get(speech, {})}
    config = type(model.config)(**{**model.config.to_dict(), "text_config": said})
    model = let_mistakes_show(type(model)(config).float().train())
    without_dropout(model)
    model.name_or_path = speech
    assert check_scores(model, processor, rows()) < 1e-5
    found = attention.family_of(model)
    assert found.shares == ("image" if speech in ("phi3", "phi", "gpt_neox") else "nothing")
    if found.shares == "image":
        assert check_sharing(model, processor, rows()).scores < 1e-5
    else:
        assert "knows no segments" in found.why and not make_batch(model, processor, rows()).is_of_trees


def test_looked_at_are_every_size_of_image_and_the_longest_answer_of_each_kind() -> None:
    """It was the first three rows, all of them chosen answers."""
    chosen = [ScoredRow(str(k), photo(0, 40), "What?", f"No {k}.") for k in range(6)]
    rejected = [ScoredRow(str(k), photo(0, 40), "What?", "Yes, turn it." + " Now." * (k == 2)) for k in range(6)]
    blank = [ScoredRow("blank", photo(1, 50 + 10 * (k == 4)), "What?", f"No {k}.") for k in range(6)]
    few = _rows_to_compare([*chosen, *rejected, *blank])
    assert len(few) <= 6 and any(row is rejected[2] for row in few) and any(row in few for row in chosen)
    assert {row.image.size for row in few} == {row.image.size for row in (*chosen, *blank)}


def test_a_class_without_states_of_its_own_is_scored_by_its_whole_forward(tmp_path: Path) -> None:
    """BLIP-2 ended in an AttributeError; what cannot be done with it is said."""
    processor, model = whole("blip-2")
    assert check_scores(model, processor, rows()) < 1e-5
    batch = make_batch(model, processor, rows())
    logprobs, values = PolicyScorer(model, critic=False)(batch)
    logprobs.sum().backward()
    assert not values.any() and model.language_model.lm_head.weight.grad.any()
    for scorer in (PolicyScorer(model, critic=True), RewardScorer(model)):
        with pytest.raises(TrainingError, match="hidden states of a"):
            scorer(batch)
    asked = ask_about(ImageData.of(encoded(photo(0, 40), "PNG")), "What is it?", max_tokens=3)
    with pytest.raises(TrainingError, match="needs the image for each answer"):
        sample_answers(model, processor, [SamplingPrompt(photo(0, 40), asked)], 2)
    processor.save_pretrained(tmp_path)
    assert load_processor(str(tmp_path)).chat_template == processor.chat_template


@pytest.mark.parametrize("kind", ["paligemma", "paligemma2"])
def test_paligemma_with_a_template_too(kind: str) -> None:
    processor, model = whole(kind, TEMPLATE)
    assert check_scores(model, processor, rows()) < 1e-5


def own_scores_of_paligemma(processor: Any, model: Any, row: ScoredRow) -> Tensor:
    """As its makers train it: the processor is given the answer as its suffix, and says what is to be learnt."""
    inputs = processor(images=[row.image], text=[f"<image>{row.question}"], suffix=[row.answer], return_tensors="pt")
    labels_T = inputs.pop("labels")[0]
    with torch.no_grad():
        scores_TV = model(**inputs).logits[0, :-1].log_softmax(-1)
    learnt_T = labels_T[1:] != -100
    return scores_TV[learnt_T].gather(-1, labels_T[1:][learnt_T][:, None])[:, 0]


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("kind", ["paligemma", "paligemma2"])
def test_paligemmas_answers_are_no_prefix(kind: str, share: bool) -> None:
    """Read as prefix, an answer's tokens see what comes after them."""
    processor, model = whole(kind)
    batch = make_batch(model, processor, rows(), share)
    with torch.no_grad():
        found = by_answer(answer_token_logprobs(model, batch), batch)
    for row, scores in zip(rows(), found, strict=True):
        assert scores == pytest.approx(own_scores_of_paligemma(processor, model, row).tolist(), abs=1e-5)


def test_a_wrong_mark_in_plain_rows_is_told_from_wrong_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = whole("paligemma")
    wrong = attention._FAMILIES["paligemma"]._replace(answer_marks={})
    monkeypatch.setitem(attention._FAMILIES, "paligemma", wrong)
    with pytest.raises(TrainingError, match=r"nats a token off those of model\(\*\*processor") as told:
        check_scores(model, processor, rows())
    assert "share_prefixes = false" not in str(told.value)
    with pytest.raises(TrainingError, match="share_prefixes = false"):
        check_sharing(model, processor, rows())


def test_a_cap_that_is_left_out_is_refused_where_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check used to compare spavl with itself, and nothing at all without sharing."""
    processor, model = whole("paligemma2")
    images = {"0": photo(0, 40), "1": photo(1, 50)}
    batches = BatchMaker(model, processor, lambda name: b"", share=False)
    monkeypatch.setattr(batches, "open", images.__getitem__)
    answers = [AnswerToScore(row.image_id, row.question, str(row.answer)) for row in rows()]
    batches.check(answers)
    monkeypatch.setattr(
        "spavl.training.prefix_trees.logprobs.logits_of_states", lambda model, states_TH: model.lm_head(states_TH)
    )
    with pytest.raises(TrainingError, match="nats a token off"):
        batches.check(answers)


def test_a_model_that_sees_what_comes_after_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = whole("llava")
    model.config.text_config.is_causal = False
    for layer in model.model.language_model.layers:
        layer.self_attn.is_causal = False
    forward = model.forward

    def both_ways(**inputs: Any) -> Any:
        length = inputs["input_ids"].shape[1]
        return forward(**{**inputs, "attention_mask": torch.ones(1, 1, length, length, dtype=torch.bool)})

    monkeypatch.setattr(model, "forward", both_ways)
    with pytest.raises(TrainingError, match="by the tokens after them"):
        check_scores(model, processor, rows())


def test_a_chat_that_the_template_writes_otherwise_is_refused() -> None:
    """Spavl's own text of a conversation was held against itself."""
    processor, model = whole("qwen2_vl")
    said = "{{ content['text'] }}"
    last = "{{ content['text'].split('</think>')[-1] }}"
    processor.chat_template = processor.chat_template.replace(said, last)
    assert check_scores(model, processor, rows()) < 1e-5
    thought = [row._replace(answer=f"Hm.</think>{row.answer}") for row in rows()]
    with pytest.raises(TrainingError, match=r"the chat template writes '(I can not|Turn)"):
        check_scores(model, processor, thought)


def test_what_draws_lots_is_not_blamed_on_the_last_token() -> None:
    processor, model = whole("llava")
    for layer in model.model.language_model.layers:
        layer.mlp.register_forward_hook(lambda _, given, made: F.dropout(made, 0.3))
    with pytest.raises(TrainingError, match="is random"):
        check_scores(model, processor, rows())


def with_batch_norm(model: Any) -> nn.BatchNorm2d:
    """A tower that norms over its batch, as that of FastVLM does."""
    eye = next(module for module in model.modules() if hasattr(module, "patch_embedding"))
    norm = nn.BatchNorm2d(eye.patch_embedding.out_channels)
    eye.patch_embedding.register_forward_hook(lambda patches, given, made: norm(made))
    eye.norm = norm
    return norm.train()


@pytest.mark.parametrize("vision", ["frozen", "full"])
def test_norms_over_a_batch_keep_to_what_they_came_with(vision: Any) -> None:
    """A frozen tower learnt the mean of its images, and rows of two images were scored by both."""
    processor, model = whole("llava")
    norm = with_batch_norm(model)
    prepare(model, TrainableConfig(vision=vision), image=lambda: blank_image(processor))
    model.eval()
    model.train()
    assert check_scores(model, processor, rows()) < 1e-5
    assert check_scores(model, processor, rows()[:2]) < 1e-5
    assert not norm.running_mean.any() and norm.weight.requires_grad == (vision == "full") and model.training
    assert check_scores(copy.deepcopy(model), processor, rows()) < 1e-5


def test_a_model_that_scores_otherwise_while_it_is_trained_is_refused() -> None:
    """The check of one image passed with 0.0: both sides of it were in training."""
    processor, model = whole("llava")
    with_batch_norm(model)
    with pytest.raises(TrainingError, match="in training mode"):
        check_scores(model, processor, rows()[:2])
    assert model.training


def test_a_forward_that_fails_is_no_bare_error(monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = whole("llava")
    model.config.image_token_id = 9
    with pytest.raises(TrainingError, match="does not score what its processor makes"):
        check_scores(model, processor, rows())


def test_an_answer_that_was_drawn_is_held_against_the_models_own_way_of_going_on() -> None:
    """Its tokens may be such as no text is read as."""
    for kind in ("gemma3", "qwen2_vl", "paligemma"):
        processor, model = whole(kind)
        drawn = [row._replace(answer=(30 + k, 31, 30, 32)) for k, row in enumerate(rows())]
        assert check_scores(model, processor, drawn) < 1e-5


def test_without_a_chat_template_paligemma_is_asked_as_its_makers_ask_it() -> None:
    processor, model = whole("paligemma")
    data = encoded(photo(0, 40), "PNG")
    asked = [ask_about(ImageData.of(data), text, max_tokens=3) for text in ("What is it?", "How do I wake this now?")]
    replies = answer_all(processor, model.eval(), asked)
    assert all(isinstance(reply, Reply) for reply in replies)
    inputs = processor(images=[photo(0, 40)], text=["<image>What is it?"], return_tensors="pt")
    inputs.pop("labels")
    own = model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert replies[0].text == processor.tokenizer.decode(own, skip_special_tokens=True).strip()
    drawn = sample_answers(model, processor, [SamplingPrompt(photo(0, 40), each) for each in asked[:2]], 2)
    assert len(drawn) == 4 and all(drawn)


def test_a_processor_without_a_template_or_a_form_of_its_own_says_what_to_do() -> None:
    processor, model = whole("llava")
    processor.chat_template = None
    with pytest.raises(ConfigError, match=r"LlavaProcessor has no chat template[\s\S]*chat_template.jinja"):
        check_scores(model, processor, rows())


def test_paligemma_without_a_template_takes_no_system_prompt() -> None:
    processor, model = whole("paligemma")
    with pytest.raises(ConfigError, match="takes no chats"):
        check_scores(model, processor, [row._replace(system="Be kind.") for row in rows()])


def test_gemma_reads_several_rows_with_an_image_each() -> None:
    """Its processor took a list of two images for two images of the first row, and refused it."""
    processor, model = whole("gemma3")
    data = [encoded(photo(k, 40), "PNG") for k in range(2)]
    asked = [ask_about(ImageData.of(each), "What is it?", max_tokens=2) for each in data]
    assert len(answer_all(processor, model.eval(), asked)) == 2


def test_the_heads_product_is_left_as_it_was() -> None:
    """A forward that is given states is the model's own again afterwards."""
    _, model = whole("llava")
    states = torch.randn(5, 32)
    logprobs.logits_of_states(model, states)
    assert "forward" not in vars(model.model)
    assert model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape[1] == 3
