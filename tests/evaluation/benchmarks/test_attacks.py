"""Benchmarks of attacks and of over-refusal, in the layouts of their makers."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image as Pillow

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.judges.guards.keyword import XSTEST
from tests.evaluation.benchmarks.test_benchmarks import read, shown
from tests.support.benchmark_files import an_image, put, put_csv, put_json, put_parquet

GOALS = [{"goal": f"ask for {n}", "target": f"Sure, here is {n}"} for n in range(3)]


class TestAdvBench:
    @pytest.mark.parametrize(
        "names", [("goal", "target"), ("prompt", "target"), ("target", "goal"), ("Behavior", "ID")]
    )
    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_columns_are_known_by_any_published_name(self, tmp_path: Path, names: tuple[str, str], kind: str) -> None:
        row = {"target": "Sure, here it is", "ID": "7"} | dict.fromkeys(("goal", "prompt", "Behavior"), "ask for it")
        rows = [{name: row[name] for name in names}]
        if kind == "csv":
            put_csv(tmp_path / "harmful_behaviors.csv", rows)
        else:
            put_parquet(tmp_path / "data/train-00000-of-00001.parquet", rows)
        (found,) = read("advbench", tmp_path)
        assert (found.question, found.wants, found.references, found.image) == ("ask for it", "refuse", (), None)

    def test_a_table_of_targets_alone_is_refused(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "harmful_behaviors.csv", [{"target": "Sure"}])
        with pytest.raises(ConfigError, match="no column 'goal'"):
            read("advbench", tmp_path)

    def test_the_policy_for_images_is_in_the_name(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "harmful_behaviors.csv", GOALS)
        put(tmp_path / "blank.png", shown(read("advbench-blank", tmp_path)[0]) or b"")
        with Pillow.open(tmp_path / "blank.png") as blank:
            assert blank.size == (336, 336) and blank.getcolors() == [(336 * 336, (255, 255, 255))]
        assert [each.image for each in read("advbench", tmp_path)] == [None] * 3

    def test_a_suffix_is_named_with_its_hash(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "harmful_behaviors.csv", GOALS)
        put(tmp_path / "suffix-mine.txt", b"! ! a placeholder ! !\n")
        put(tmp_path / "suffix-other.txt", b"another")
        found = read("advbench-suffix", tmp_path)
        digest = hashlib.sha256(b"! ! a placeholder ! !").hexdigest()[:16]
        assert found[0].question == "ask for 0 ! ! a placeholder ! !"
        assert {each.subset.split()[1] for each in found} == {"mine", "other"}
        assert found[0].subset == f"transfer mine sha256:{digest}"
        assert len({(each.subset, each.key) for each in found}) == 6

    def test_no_suffix_comes_with_spavl(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "harmful_behaviors.csv", GOALS)
        with pytest.raises(ConfigError, match=r"suffix\*\.txt") as caught:
            read("advbench-suffix", tmp_path)
        assert "spavl brings none" in caught.value.then

    def test_a_file_with_two_suffixes_is_refused(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "harmful_behaviors.csv", GOALS)
        put(tmp_path / "suffix-both.txt", b"one\ntwo\n")
        with pytest.raises(ConfigError, match="2 suffixes"):
            read("advbench-suffix", tmp_path)


class TestOverRefusal:
    @pytest.mark.parametrize("labelled", [True, False])
    def test_xstest_tells_harmless_from_harmful(self, tmp_path: Path, labelled: bool) -> None:
        """The older file has no label, and tells it by the kind."""
        rows = [
            {"id": 1, "prompt": "how to kill a process", "type": "homonyms", "label": "safe"},
            {"id": 2, "prompt": "the harmful one", "type": "contrast_homonyms", "label": "unsafe"},
        ]
        if not labelled:
            rows = [{name: cell for name, cell in row.items() if name != "label"} for row in rows]
        put_csv(tmp_path / ("xstest_prompts.csv" if labelled else "xstest_v2_prompts.csv"), rows)
        safe, unsafe = read("xstest", tmp_path)
        assert (safe.wants, safe.scored_by, safe.group) == ("help", ("refusal", XSTEST), "homonyms")
        assert (unsafe.wants, unsafe.scored_by[0]) == ("refuse", "guard")

    def test_a_label_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        put_csv(tmp_path / "xstest_prompts.csv", [{"prompt": "x", "type": "y", "label": "1"}])
        with pytest.raises(ConfigError, match="neither safe nor unsafe"):
            read("xstest", tmp_path)

    def test_or_bench_has_a_subset_for_each_file(self, tmp_path: Path) -> None:
        for name in ("or-bench-hard-1k", "or-bench-toxic", "or-bench-80k"):
            put_csv(tmp_path / f"{name}.csv", [{"prompt": f"of {name}", "category": "privacy"}])
        assert [(each.subset, each.wants) for each in read("or-bench", tmp_path)] == [
            ("hard-1k", "help"),
            ("toxic", "refuse"),
        ]
        assert [each.wants for each in read("or-bench-80k", tmp_path)] == ["help"]

    @pytest.mark.parametrize("place", ["data/", ""])
    def test_mossbench_as_on_github(self, tmp_path: Path, place: str) -> None:
        about = {
            str(pid): {
                "pid": str(pid),
                "question": f"how about {pid}?",
                "image": f"images/{pid}.png",
                "metadata": {"over": "type 2", "harm": [1], "human": 0, "child": 0, "syn": 1, "ocr": 0},
                "short description": f"shows {pid}",
            }
            for pid in (1, 2)
        }
        put_json(tmp_path / f"{place}images_information/information.json", about)
        for pid in about:
            put(tmp_path / f"{place}images/{pid}.png", an_image(pid))
        first, second = read("mossbench", tmp_path)
        assert (first.wants, first.scored_by, first.group, first.context) == (
            "help",
            ("refusal",),
            "negated harm",
            "shows 1",
        )
        assert (first.key, shown(second)) == ("1", an_image(2))


class TestJailbreaks:
    def test_jailbreakv_groups_attacks_by_what_they_ask_for(self, tmp_path: Path) -> None:
        rows = [
            {
                "id": n,
                "jailbreak_query": f"attack {n}",
                "redteam_query": "the request",
                "format": kind,
                "policy": "Fraud",
                "image_path": f"figstep/{n}.png",
                "selected_mini": True,
                "transfer_from_llm": False,
            }
            for n, kind in enumerate(["figstep", "Template"])
        ]
        put_csv(tmp_path / "mini_JailBreakV_28K.csv", rows)
        for n in range(2):
            put(tmp_path / f"JailBreakV_28K/figstep/{n}.png", an_image(n))
        found = read("jailbreakv-mini", tmp_path)
        assert [(each.subset, each.group, each.cluster) for each in found] == [
            ("figstep", "Fraud", "the request"),
            ("Template", "Fraud", "the request"),
        ]
        assert shown(found[1]) == an_image(1)
        with pytest.raises(ConfigError, match=r"JailBreakV_28K\.csv"):
            read("jailbreakv", tmp_path)

    def test_vlguard_makes_three_subsets(self, tmp_path: Path) -> None:
        rows = [
            {
                "image": "bad/1.png",
                "safe": False,
                "harmful_category": "privacy",
                "harmful_subcategory": "personal data",
                "instr-resp": [{"instruction": "about the bad one", "response": "no"}],
            },
            {
                "image": "good/2.png",
                "safe": True,
                "instr-resp": [
                    {"safe_instruction": "fine", "response": "gladly"},
                    {"unsafe_instruction": "not fine", "response": "no"},
                ],
            },
        ]
        put_json(tmp_path / "test.json", rows)
        put(tmp_path / "test/bad/1.png", an_image("bad"))
        put(tmp_path / "test/good/2.png", an_image("good"))
        found = {each.subset: each for each in read("vlguard", tmp_path)}
        assert {name: each.wants for name, each in found.items()} == {
            "unsafes": "refuse",
            "safe_unsafes": "refuse",
            "safe_safes": "help",
        }
        assert (found["safe_safes"].question, found["safe_safes"].references) == ("fine", ("gladly",))
        assert (found["safe_unsafes"].question, found["safe_unsafes"].references) == ("not fine", ())
        assert shown(found["unsafes"]) == an_image("bad") and found["safe_safes"].cluster == "good/2.png"

    def test_figstep_asks_the_same_of_every_image(self, tmp_path: Path) -> None:
        rows = [
            {
                "dataset": "SafeBench-Tiny",
                "category_id": 1,
                "task_id": task,
                "category_name": "Fraud",
                "question": f"truly {task}",
                "instruction": "steps",
            }
            for task in (3, 4)
        ]
        put_csv(tmp_path / "data/question/SafeBench-Tiny.csv", rows)
        for task in (3, 4):
            put(tmp_path / f"data/images/SafeBench-Tiny/query_ForbidQI_1_{task}_6.png", an_image(task))
        first, second = read("figstep-tiny", tmp_path)
        assert first.question == second.question and first.context == "truly 3"
        assert (shown(first), shown(second)) == (an_image(3), an_image(4))

    def test_harmbench_finds_images_under_another_ending(self, tmp_path: Path) -> None:
        row = {
            "Behavior": "about the picture",
            "FunctionalCategory": "multimodal",
            "SemanticCategory": "illegal",
            "Tags": "",
            "ImageFileName": "one.jpg",
            "BehaviorID": "one",
            "ContextString": "",
            "ImageDescription": "a long one",
            "RedactedImageDescription": "a short one",
        }
        put_csv(tmp_path / "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv", [row])
        put(tmp_path / "data/multimodal_behavior_images/one.png", an_image(1))
        (found,) = read("harmbench-multimodal", tmp_path)
        assert (found.key, found.context, shown(found)) == ("one", "a short one", an_image(1))


class TestHarmOfBothTogether:
    def test_siuo_tells_the_judge_what_is_dangerous(self, tmp_path: Path) -> None:
        row = {"question_id": 5, "image": "S-05.png", "question": "good?", "category": "x", "safety_warning": "high up"}
        put_json(tmp_path / "siuo_gen.json", [row])
        put(tmp_path / "images/S-05.png", an_image(5))
        (found,) = read("siuo", tmp_path)
        assert (found.key, found.context, shown(found)) == ("5", "high up", an_image(5))

    @pytest.mark.parametrize("kind", ["json", "parquet"])
    def test_vlsbench_as_a_list_and_as_a_table(self, tmp_path: Path, kind: str) -> None:
        row = {
            "instruction_id": 9,
            "instruction": "how?",
            "category": "Violent",
            "sub_category": "Assault",
            "image_description": "A scene.",
            "safety_reason": "It harms.",
        }
        if kind == "json":
            put_json(tmp_path / "data.json", [{**row, "image_path": "imgs/9.png"}])
            put(tmp_path / "imgs/9.png", an_image(9))
        else:
            put_parquet(tmp_path / "data/train-00000-of-00001.parquet", [{**row, "image": an_image(9)}])
        (found,) = read("vlsbench", tmp_path)
        assert (found.key, found.group, found.context) == ("9", "Assault", "A scene. It harms.")
        assert shown(found) == an_image(9)

    def test_msts_has_a_subset_for_each_language(self, tmp_path: Path) -> None:
        for language in ("english", "german"):
            rows = [
                {
                    "case_id": "7",
                    "unsafe_image_id": "i7",
                    "prompt_text": f"{language} {kind}",
                    "prompt_type": kind,
                    "hazard_category": "x",
                    "unsafe_image": an_image(7),
                }
                for kind in ("assistance", "intention")
            ]
            put_parquet(tmp_path / f"data/{language}-00000-of-00001.parquet", rows, image="unsafe_image")
        found = read("msts", tmp_path)
        assert Counter(each.subset for each in found) == {"english": 2, "german": 2}
        assert len({(each.subset, each.key) for each in found}) == 4 and {shown(each) for each in found} == {
            an_image(7)
        }


@pytest.mark.parametrize("name", sorted(registry.BENCHMARKS))
def test_an_empty_folder_ends_in_where_to_get_the_data(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name, tmp_path)
    assert caught.value.then and caught.value.where


def test_every_suite_of_safety_has_over_refusal_in_it() -> None:
    for name in ("safety", "core", "full"):
        assert {"xstest", "mossbench"} <= {each.name for each in registry.suite(name)}
    assert all(registry.suite(name) for name in registry.SUITES)
