"""Benchmarks of ability in the layouts of their makers and of the hub, and ChEF's recipes over them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.errors import ConfigError
from spavl.evaluation.answer_matching import rules
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.ability import chef, lmms_eval
from spavl.evaluation.benchmarks.ability.instructions import BY_LETTER, IN_A_WORD, asked_with, options_of
from spavl.evaluation.benchmarks.files import row_files
from spavl.evaluation.benchmarks.types import BenchmarkItem
from spavl.evaluation.items import BenchmarkFolder, found_in
from spavl.evaluation.records import Item
from spavl.statistics import wilson
from tests.evaluation.benchmarks.test_benchmarks import read, shown
from tests.support.benchmark_files import an_image, in_base64, put, put_csv, put_json, put_lines, put_parquet
from tests.support.records import filled

PEOPLE = ["red"] * 7 + ["blue"] * 3
SCIENCE = {"question": "Which?", "choices": ["one", "two"], "answer": 1, "hint": "Look.", "subject": "natural science"}
SEED = {"question": "What?", "choice_a": "x", "choice_b": "y", "choice_c": "z", "choice_d": "w", "answer": "C"}


def marks(found: BenchmarkItem, answer: str) -> list[float | None]:
    return [rules.rule(name)(answer, found.question, found.references) for name in found.scored_by]


class TestPope:
    def test_the_release_in_json_lines(self, tmp_path: Path) -> None:
        for subset in ("random", "adversarial"):
            rows = [
                {"question_id": n, "image": "COCO_1.jpg", "text": f"Is there {n}?", "label": label}
                for n, label in enumerate(("yes", "no"))
            ]
            put_lines(tmp_path / f"coco_pope_{subset}.json", rows)
        put(tmp_path / "val2014/COCO_1.jpg", an_image(1))
        found = read("pope", tmp_path)
        assert {(each.subset, each.key) for each in found} == {
            (subset, key) for subset in ("random", "adversarial") for key in ("0", "1")
        }
        assert found[0].question == f"Is there 0?\n{IN_A_WORD}" and found[0].cluster == "COCO_1.jpg"
        assert (marks(found[0], "Yes"), marks(found[1], "Yes")) == ([1, 1], [0, 0])
        assert shown(found[0]) == an_image(1)

    def test_the_hub(self, tmp_path: Path) -> None:
        row = {"question_id": "3", "question": "Is it?", "answer": "no", "category": "popular", "image_source": "s"}
        put_parquet(tmp_path / "data/test-00000-of-00001.parquet", [{**row, "image": an_image(3)}])
        (found,) = read("pope", tmp_path)
        assert (found.subset, found.references, found.cluster, shown(found)) == ("popular", ("no",), "s", an_image(3))

    def test_archives_and_backups_beside_the_files_are_passed_over(self, tmp_path: Path) -> None:
        """They ended in a fault of spavl: KeyError('.gz')."""
        rows = [{"question_id": 1, "image": "COCO_1.jpg", "text": "Is there a cat?", "label": "yes"}]
        put_lines(tmp_path / "coco_pope_random.json", rows)
        put_lines(tmp_path / "coco_pope_popular.jsonl.bak", rows)
        put(tmp_path / "coco_pope_random.json.gz", b"x")
        put(tmp_path / "val2014/COCO_1.jpg", an_image(1))
        assert len(read("pope", tmp_path)) == 1
        with pytest.raises(ConfigError, match=r"files that end in \.gz are not read, but those in \.csv, "):
            list(row_files.rows(tmp_path / "coco_pope_random.json.gz"))


class TestScienceQA:
    def test_the_release_gives_the_test_alone(self, tmp_path: Path) -> None:
        problems = {"1": {**SCIENCE, "image": "image.png"}, "2": {**SCIENCE, "image": None}, "3": SCIENCE}
        put_json(tmp_path / "problems.json", problems)
        put_json(tmp_path / "pid_splits.json", {"train": ["3"], "test": ["1", "2"]})
        put(tmp_path / "images/test/1/image.png", an_image(1))
        seen, words = read("scienceqa", tmp_path)
        assert seen.question == f"Context: Look.\nWhich?\nA. one\nB. two\n{BY_LETTER}"
        assert (seen.subset, shown(seen), words.subset, words.image) == (
            "with image",
            an_image(1),
            "words alone",
            None,
        )
        assert marks(seen, "B") == [1, 1 / 2, 1, 1, 1] and marks(seen, "It is two.") == [1, 1 / 2, 0, 0, 1]

    def test_the_hub(self, tmp_path: Path) -> None:
        rows = [{**SCIENCE, "image": an_image(1)}, {**SCIENCE, "image": None}]
        put_parquet(tmp_path / "ScienceQA-FULL/test-00000-of-00001.parquet", rows)
        assert [shown(each) for each in read("scienceqa", tmp_path)] == [an_image(1), None]


class TestMMBench:
    def row(self, index: int, image: str, **more: Any) -> dict[str, Any]:
        told = {"question": "Which?", "hint": "", "A": "one", "B": "two", "C": "nan", "D": "", "answer": "B"}
        return {"index": index, **told, "category": "colour", "split": "dev", "image": image, **more}

    def test_copies_in_another_order_belong_to_one_question(self, tmp_path: Path) -> None:
        """The copy's image is the index of the row that has it."""
        image = in_base64(an_image("a long one, since an index is a short one" * 3))
        turned = self.row(1_000_007, "7", A="two", B="one", answer="A")
        put_csv(tmp_path / "MMBench_DEV_EN.tsv", [self.row(7, image), turned])
        first, second = read("mmbench", tmp_path)
        assert first.cluster == second.cluster == "7" and first.key != second.key
        assert options_of(first.question) == {"A": "one", "B": "two"}
        assert shown(first) == shown(second)
        assert (marks(first, "two"), marks(second, "two"), marks(second, "perhaps")) == (
            [1, 1, 1],
            [1, 1, 1],
            [None, 0, 0],
        )

    @pytest.mark.parametrize("limit", [1, 3, 6, 7, 99])
    def test_a_trial_takes_a_question_in_all_its_orders(self, tmp_path: Path, limit: int) -> None:
        """Else a question asked once would count for one that is right in every order."""
        image = in_base64(an_image(1))
        rows = [self.row(turn * 1_000_000 + number, image) for turn in range(4) for number in range(5)]
        put_csv(tmp_path / "MMBench_DEV_EN.tsv", rows)
        (benchmark,) = registry.suite("mmbench")
        counts = Counter(each.cluster for each in found_in(BenchmarkFolder(benchmark, tmp_path), limit))
        assert set(counts.values()) == {4} and len(counts) == min(5, -(-limit // 4))

    @pytest.mark.parametrize("nothing", ["None", "nan", ""])
    def test_an_option_keeps_its_letter_whatever_those_before_it_say(self, tmp_path: Path, nothing: str) -> None:
        row = self.row(1, "x" * 99, A=nothing, B="One", C="Two")
        put_csv(tmp_path / "MMBench_DEV_EN.tsv", [row])
        (found,) = read("mmbench", tmp_path)
        assert options_of(found.question) == {"A": nothing, "B": "One", "C": "Two"}
        assert (marks(found, "One"), marks(found, "Two"), marks(found, "B")) == ([1, 1, 1], [0, 0, 0], [1, 1, 1])

    def test_the_tests_questions_have_no_answers(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "MMBench_TEST_EN.tsv", [self.row(1, "x" * 99, answer="")])
        with pytest.raises(ConfigError, match="without its answer"):
            read("mmbench", tmp_path)


class TestSeed:
    def test_videos_are_left_out(self, tmp_path: Path) -> None:
        rows = [
            {**SEED, "question_id": "1", "data_id": "101", "data_type": "image", "question_type_id": 3},
            {**SEED, "question_id": "2", "data_id": "v", "data_type": "video", "question_type_id": 11},
        ]
        put_json(tmp_path / "SEED-Bench.json", {"questions": rows, "question_type": {"Scene": 1}})
        put(tmp_path / "SEED-Bench-image/101", an_image(101))
        (found,) = read("seed", tmp_path)
        assert (found.group, shown(found), marks(found, "C. z")) == ("3", an_image(101), [1, 1])

    def test_the_hub_has_lists_of_one_image(self, tmp_path: Path) -> None:
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        row = {**SEED, "question_id": "1", "data_id": "1", "data_type": "image", "question_type_id": 3}
        table = pa.Table.from_pylist([row])
        cells = pa.array([[{"bytes": an_image(1), "path": None}]], pa.list_(struct))
        pq.write_table(table.append_column("image", cells), tmp_path / "test-0.parquet")
        (found,) = read("seed", tmp_path)
        assert shown(found) == an_image(1)


class TestShortAnswers:
    def test_vqa_joins_questions_and_answers(self, tmp_path: Path) -> None:
        asked = {"questions": [{"image_id": 42, "question": "Colour?", "question_id": 420}], "info": {"version": "2"}}
        answers = [{"answer": word, "answer_confidence": "yes", "answer_id": n} for n, word in enumerate(PEOPLE)]
        said = {"annotations": [{"question_id": 420, "answers": answers, "answer_type": "other", "image_id": 42}]}
        put_json(tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json", asked)
        put_json(tmp_path / "v2_mscoco_val2014_annotations.json", said)
        put(tmp_path / "val2014/COCO_val2014_000000000042.jpg", an_image(42))
        (found,) = read("vqav2", tmp_path)
        assert (found.references, found.group, shown(found)) == (tuple(PEOPLE), "other", an_image(42))
        assert marks(found, "Blue.") == pytest.approx([0.9, 0.9])

    def test_vizwiz_may_be_unanswerable(self, tmp_path: Path) -> None:
        answers = [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10
        put_json(tmp_path / "val.json", [{"image": "V_1.jpg", "question": "What?", "answers": answers}])
        put(tmp_path / "val/V_1.jpg", an_image(1))
        (found,) = read("vizwiz", tmp_path)
        assert "respond with 'Unanswerable'" in found.question and marks(found, "Unanswerable") == [1, 1]

    def test_textvqa_from_its_release_and_from_the_hub(self, tmp_path: Path) -> None:
        row = {"question": "what does it say?", "question_id": 5, "image_id": "abc", "answers": PEOPLE}
        put_json(tmp_path / "a/TextVQA_0.5.1_val.json", {"data": [row], "dataset_type": "val"})
        put(tmp_path / "a/train_images/abc.jpg", an_image(5))
        put_parquet(tmp_path / "b/data/validation-00000-of-00001.parquet", [{**row, "image": an_image(5)}])
        one, other = (read("textvqa", tmp_path / place)[0] for place in "ab")
        assert one._replace(image=None) == other._replace(image=None) and shown(one) == shown(other) == an_image(5)

    def test_gqa_from_its_release_and_from_the_hub(self, tmp_path: Path) -> None:
        row = {"question": "Where is it?", "imageId": "n1", "answer": "left", "types": {"structural": "query"}}
        put_json(tmp_path / "a/testdev_balanced_questions.json", {"77": row})
        put(tmp_path / "a/images/n1.jpg", an_image(1))
        put_parquet(tmp_path / "b/testdev_balanced_instructions/testdev-0.parquet", [{"id": "77", **row}])
        put_parquet(tmp_path / "b/testdev_balanced_images/testdev-0.parquet", [{"id": "n1", "image": an_image(1)}])
        one, other = (read("gqa", tmp_path / place)[0] for place in "ab")
        assert one._replace(image=None) == other._replace(image=None) and shown(one) == shown(other)
        assert (one.key, one.group, marks(one, "Left.")) == ("77", "query", [1, 0, 1])

    def test_the_tests_questions_have_no_answers(self, tmp_path: Path) -> None:
        put_json(tmp_path / "val.json", [{"image": "V.jpg", "question": "What?", "answers": []}])
        put(tmp_path / "val/V.jpg", an_image(1))
        with pytest.raises(ConfigError, match="without answers"):
            read("vizwiz", tmp_path)


class TestOodcv:
    ROWS = (
        {"question": "How many?", "answer": "B", "text_answer": "2", "options": ["A", "B"], "situation": "pose"},
        {"question": "Is there?", "answer": "A", "text_answer": "Yes", "options": ["A", "B"], "situation": "iid"},
    )

    def test_counts_and_yes_or_no_are_scored_each_in_its_way(self, tmp_path: Path) -> None:
        put_json(tmp_path / "oodcv-vqa.json", [{**row, "image": f"phase/{n}.jpg"} for n, row in enumerate(self.ROWS)])
        for n in range(2):
            put(tmp_path / f"phase/{n}.jpg", an_image(n))
        count, yes = read("oodcv-vqa", tmp_path)
        assert (count.subset, count.group, count.scored_by) == ("number", "pose", ("match/short", "match/oodcv"))
        assert (marks(count, "There are two."), marks(yes, "yes"), shown(yes)) == ([1, 1], [1, 1], an_image(1))

    def test_the_form_of_the_hub(self, tmp_path: Path) -> None:
        put_json(tmp_path / "OODCV-VQA.json", [{"question": "How many?", "answer": "3", "image_path": "x.jpeg"}])
        put(tmp_path / "images/x.jpeg", an_image(3))
        (found,) = read("oodcv-vqa", tmp_path)
        assert (found.references, shown(found)) == (("3",), an_image(3))

    def test_the_counterfactual_has_no_published_rule_beside_ours(self, tmp_path: Path) -> None:
        put_json(tmp_path / "oodcv-counterfactual.json", [{**self.ROWS[0], "image": "0.jpg"}])
        put(tmp_path / "0.jpg", an_image(0))
        assert [each.scored_by for each in read("oodcv-counterfactual", tmp_path)] == [("match/short",)]


class TestChef:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        rows = [
            {
                "question": f"Which {n}?",
                "choices": ["one", "two", "three"],
                "answer": n % 3,
                "hint": "",
                "image": an_image(n),
            }
            for n in range(5)
        ]
        put_parquet(tmp_path / "data/test-00000-of-00001.parquet", rows)
        return tmp_path

    def test_examples_stand_before_a_question_and_are_never_itself(self, folder: Path) -> None:
        plain = {each.key: each for each in read("scienceqa", folder)}
        for each in read("scienceqa+examples", folder):
            own = plain[each.key].question
            assert each.question.endswith(f"\n\n{own}") and each.question.count("Which") == 3
            assert each.question.count(own.splitlines()[0]) == 1
            assert each._replace(question=own) == plain[each.key]._replace(image=each.image)
            assert options_of(each.question) == options_of(own)

    def test_examples_are_the_same_each_time(self, folder: Path) -> None:
        one, other = (read("scienceqa+examples", folder) for _ in range(2))
        assert [each.question for each in one] == [each.question for each in other]

    def test_options_by_number_are_scored_by_number(self, folder: Path) -> None:
        second = read("scienceqa+numbers", folder)[1]
        assert "\n2. two\n" in second.question and "option's number" in second.question
        assert (marks(second, "2"), marks(second, "B"), marks(second, "3. three")) == ([1], [None], [0])

    def test_every_recipe_names_what_is_there(self) -> None:
        assert len(chef.RECIPES) == 6
        for recipe in chef.RECIPES:
            words = recipe.ask.split()
            for name in words[words.index("--suite") + 1].split(","):
                assert registry.benchmark_named(name)

    def test_an_unknown_recipe_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="nonsense"):
            registry.benchmark_named("pope+nonsense")

    def test_made_benchmarks_read_the_folder_of_the_one_they_are_made_of(self) -> None:
        assert registry.benchmark_named("scienceqa+numbers").folder == "scienceqa"
        assert registry.benchmark_named("mm-safetybench-tiny").folder == "mm-safetybench"


class TestHandOver:
    def test_a_server_and_a_folder_of_weights(self) -> None:
        command = lmms_eval.command("openai/my-model@http://127.0.0.1:8000/v1", ["pope", "textvqa"])
        assert "--model openai --model_args model_version=my-model,base_url=http://127.0.0.1:8000/v1" in command
        assert "--tasks pope,textvqa_val" in command
        assert "pretrained=runs/demo/checkpoints/aligned" in lmms_eval.command("hf/runs/demo/checkpoints/aligned")

    def test_what_it_cannot_do_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="harmeval"):
            lmms_eval.command("hf/x", ["harmeval"])
        with pytest.raises(ConfigError, match="cannot ask"):
            lmms_eval.command("miniature/base")


class TestFigures:
    def items(self, found: list[BenchmarkItem]) -> list[Item]:
        return [
            filled(Item, subset=each.subset, references=each.references, cluster=each.cluster, question=each.question)
            for each in found
        ]

    def test_pope_tells_each_of_its_subsets_too(self) -> None:
        found = [
            BenchmarkItem(key="", question="", wants="answer", scored_by=(), subset=subset, references=(truth,))
            for subset in ("random", "popular")
            for truth in ("yes", "no")
        ]
        figures = registry.benchmark_named("pope").figures
        assert figures
        told = figures(self.items(found), [1, 1, 1, 0])
        names = ("accuracy", "f1, random", "f1, popular", "yes_ratio, popular")
        assert [told[name].value for name in names] == pytest.approx([0.75, 1, 2 / 3, 1])

    def test_made_benchmarks_have_figures_of_their_own_or_those_of_the_one_they_are_made_of(self) -> None:
        strict, ratio = (registry.benchmark_named(name).figures for name in ("mmbench+examples", "mmbench+numbers"))
        assert strict and ratio
        items = [filled(Item, key=key) for key in ("1", "1000001", "2")]
        assert strict(items, [1, 0, 1])["strict accuracy"] == wilson(1, 2)
        assert ratio(items, [1, 0, None])["match ratio"].value == 2 / 3

    def test_how_sure_a_model_is_and_what_chance_would_give(self) -> None:
        asked = asked_with("Which?", ["one", "two"])
        assert chef.sure_of(["A", "It is one.", "B", "what?"], asked) == ("A", 0.5)
        assert chef.sure_of(["what?"], asked) is None
        assert [chef.chance(each) for each in (asked, asked_with("Which?", list("wxyz")), "open?")] == [0.5, 0.25, None]
