"""Benchmarks in every layout they are published in, and the traps that lie in them."""

import json
from collections import Counter
from pathlib import Path

import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.mm_safetybench import CRITERIA, scenario_of
from spavl.evaluation.benchmarks.types import BenchmarkItem
from spavl.records import Image, Question
from spavl.store import RunFolder
from tests.support.benchmark_files import (
    VARIANTS,
    an_image,
    in_base64,
    mm_hub,
    mm_release,
    mm_words,
    put,
    put_csv,
    put_json,
    put_parquet,
)
from tests.support.records import filled


def read(name: str, folder: Path) -> list[BenchmarkItem]:
    return list(registry.benchmark_named(name).read(folder))


def shown(found: BenchmarkItem) -> bytes | None:
    return found.image() if found.image else None


class TestSpaVl:
    def rows(self, *questions: str) -> list[dict[str, object]]:
        return [
            {"question": words, "class1": "a", "class2": "b", "class3": f"leaf {n}", "image": an_image(n)}
            for n, words in enumerate(questions)
        ]

    @pytest.mark.parametrize("place", ["test/harm-00000-of-00001.parquet", "harm-00000-of-00001.parquet"])
    def test_harmful_questions_are_read_raw_wherever_users_keep_them(self, tmp_path: Path, place: str) -> None:
        put_parquet(tmp_path / place, self.rows("\n 'What about it?'", "and this"))
        first, second = read("harmeval", tmp_path)
        assert first.question == "\n 'What about it?'"
        assert (first.wants, first.scored_by[0], first.group) == ("refuse", "guard", "leaf 0")
        assert (shown(first), shown(second)) == (an_image(0), an_image(1))

    def test_a_question_that_occurs_twice_is_two_items(self, tmp_path: Path) -> None:
        put_parquet(tmp_path / "test/help-00000-of-00001.parquet", self.rows("the same", "the same", "another"))
        found = read("helpeval", tmp_path)
        assert [each.key for each in found] == ["0", "1", "2"]
        assert {each.wants for each in found} == {"help"} and "pairwise" in found[0].scored_by

    def test_a_missing_file_is_named_with_where_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="harm-") as caught:
            read("harmeval", tmp_path)
        assert "sqrti/SPA-VL" in caught.value.then
        with pytest.raises(ConfigError, match="no such folder"):
            read("harmeval", tmp_path / "elsewhere")

    def test_held_out_questions_are_not_taken_for_the_test(self, tmp_path: Path) -> None:
        put_parquet(tmp_path / "held_out/harm-00000-of-00001.parquet", self.rows("held out"))
        with pytest.raises(ConfigError):
            read("harmeval", tmp_path)


class TestMMSafetyBench:
    def check(self, found: list[BenchmarkItem]) -> None:
        """Every question four times, its words those that go with its image."""
        assert Counter(each.subset for each in found) == dict.fromkeys(("Text_only", *VARIANTS), 26)
        columns = {"Text_only": "Changed Question", "SD": "Rephrased Question(SD)"}
        for each in found:
            scenario, key = each.cluster.split("/")
            assert each.question == mm_words(scenario, int(key))[columns.get(each.subset, "Rephrased Question")]
            expected = None if each.subset == "Text_only" else an_image(f"{scenario} {each.subset} {key}")
            assert shown(each) == expected
            assert (each.group, each.wants, each.scored_by[0]) == (scenario, "refuse", CRITERIA[scenario])

    @pytest.mark.parametrize("images", ["data/imgs", "MM-SafetyBench(imgs)", "data/imgs/MM-SafetyBench(imgs)"])
    def test_the_release_gives_the_right_words_with_the_right_image(self, tmp_path: Path, images: str) -> None:
        self.check(read("mm-safetybench", mm_release(tmp_path, images=images)))

    def test_the_hub_gives_the_same(self, tmp_path: Path) -> None:
        self.check(read("mm-safetybench", mm_hub(tmp_path)))

    def test_both_layouts_give_the_same_items(self, tmp_path: Path) -> None:
        one, other = (
            {(each.subset, each.key, each.question, shown(each)) for each in read("mm-safetybench", tree)}
            for tree in (mm_release(tmp_path / "a"), mm_hub(tmp_path / "b"))
        )
        assert one == other

    @pytest.mark.parametrize("wrong", [("TYPO",), ("SD_TYPO",), ("TYPO", "SD_TYPO")])
    def test_a_hub_copy_with_the_words_for_sd_beside_typo_is_refused(
        self, tmp_path: Path, wrong: tuple[str, ...]
    ) -> None:
        mm_hub(tmp_path)
        words = [mm_words("01-Illegal_Activitiy", key)["Rephrased Question(SD)"] for key in range(2)]
        rows = [{"id": str(key), "question": each, "image": an_image(key)} for key, each in enumerate(words)]
        for subset in wrong:
            put_parquet(tmp_path / f"Illegal_Activitiy/{subset}-00000-of-00001.parquet", rows)
        with pytest.raises(ConfigError, match=f"the {wrong[0]} images of 01-Ill.* come with the words for SD"):
            read("mm-safetybench", tmp_path)

    def test_one_question_with_the_words_for_sd_beside_typo_alone_is_refused(self, tmp_path: Path) -> None:
        mm_hub(tmp_path, ids=5)
        words = [mm_words("07-Sex", key)[f"Rephrased Question{'' if key else '(SD)'}"] for key in range(5)]
        rows = [{"id": str(key), "question": each, "image": an_image(key)} for key, each in enumerate(words)]
        put_parquet(tmp_path / "Sex/TYPO-00000-of-00001.parquet", rows)
        with pytest.raises(ConfigError, match=r"TYPO images of 07-Sex .* such as those of id 0"):
            read("mm-safetybench", tmp_path)
        put_parquet(tmp_path / "Sex/SD_TYPO-00000-of-00001.parquet", rows)
        assert len(read("mm-safetybench", tmp_path)) == 13 * 4 * 5, "one that has the same words for all is none"

    def test_a_download_that_is_not_whole_is_refused(self, tmp_path: Path) -> None:
        (mm_release(tmp_path / "a") / "data/processed_questions/07-Sex.json").unlink()
        for file in (mm_hub(tmp_path / "b") / "Sex").iterdir():
            file.unlink()
        for tree in ("a", "b"):
            with pytest.raises(ConfigError, match="1 of the 13 scenarios are missing: 07-Sex"):
                read("mm-safetybench", tmp_path / tree)
        (mm_hub(tmp_path / "c") / "Sex/TYPO-00000-of-00001.parquet").unlink()
        with pytest.raises(ConfigError, match="07-Sex lacks TYPO"):
            read("mm-safetybench", tmp_path / "c")

    def test_five_scenarios_have_a_criterion_of_their_own_and_privacy_has_none(self) -> None:
        own = {name[:2]: criterion for name, criterion in CRITERIA.items() if criterion != "criterion/general"}
        assert own == {
            "08": "criterion/lobbying",
            "10": "criterion/legal",
            "11": "criterion/financial",
            "12": "criterion/health",
            "13": "criterion/government",
        }

    @pytest.mark.parametrize(
        ("spelled", "meant"),
        [
            ("Illegal_Activitiy", "01-Illegal_Activitiy"),
            ("01-Illegal_Activity", "01-Illegal_Activitiy"),
            ("illegal activity", "01-Illegal_Activitiy"),
            ("EconomicHarm", "05-EconomicHarm"),
            ("05-Economic_Harm", "05-EconomicHarm"),
            ("Gov_Decision", "13-Gov_Decision"),
            ("Cooking", None),
        ],
    )
    def test_scenarios_are_known_in_any_spelling(self, spelled: str, meant: str | None) -> None:
        assert scenario_of(spelled) == meant

    def test_folders_with_the_spelling_put_right_are_found(self, tmp_path: Path) -> None:
        mm_release(tmp_path)
        (tmp_path / "data/imgs/01-Illegal_Activitiy").rename(tmp_path / "data/imgs/01-Illegal_Activity")
        self.check(read("mm-safetybench", tmp_path))

    def test_an_unknown_scenario_is_refused(self, tmp_path: Path) -> None:
        put_json(mm_release(tmp_path) / "data/processed_questions/14-Cooking.json", {"0": mm_words("x", 0)})
        with pytest.raises(ConfigError, match="14-Cooking"):
            read("mm-safetybench", tmp_path)

    def test_a_missing_image_is_named(self, tmp_path: Path) -> None:
        (mm_release(tmp_path) / "data/imgs/07-Sex/TYPO/1.jpg").unlink()
        with pytest.raises(ConfigError, match=r"1\.jpg is missing") as caught:
            read("mm-safetybench", tmp_path)
        assert "07-Sex" in caught.value.where and "isXinLiu" in caught.value.then

    @pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "a\\b"])
    def test_a_key_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path, key: str) -> None:
        put(tmp_path / "secret.jpg", b"secret")
        mm_release(tmp_path / "set")
        put_json(tmp_path / "set/data/processed_questions/07-Sex.json", {key: mm_words("07-Sex", 0)})
        with pytest.raises(ConfigError, match="leads out"):
            read("mm-safetybench", tmp_path / "set")

    @pytest.mark.parametrize("tree", [mm_release, mm_hub])
    def test_the_tiny_list_picks_by_scenario_and_id(self, tmp_path: Path, tree: object) -> None:
        assert callable(tree)
        tree(tmp_path)
        listed = [
            {"Scenario": "01-Illegal_Activitiy", "Sampled_ID_List": [1]},
            {"Scenario": "13-Gov_Decision", "Sampled_ID_List": ["0", "1"]},
        ]
        put_json(tmp_path / "TinyVersion_ID_List.json", listed)
        keys = {each.key for each in read("mm-safetybench-tiny", tmp_path)}
        assert keys == {"01-Illegal_Activitiy/1", "13-Gov_Decision/0", "13-Gov_Decision/1"}

    def test_without_its_list_the_tiny_version_says_where_it_is(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="TinyVersion_ID_List") as caught:
            read("mm-safetybench-tiny", mm_release(tmp_path))
        assert "isXinLiu" in caught.value.then

    def test_the_tsv_is_read_with_its_images(self, tmp_path: Path) -> None:
        rows = [
            {"index": n, "image": in_base64(an_image(n)), "question": f"asked {n}", "answer": "", "category": scenario}
            for n, scenario in enumerate(CRITERIA)
        ]
        put_csv(tmp_path / "MMSafetyBench.tsv", rows)
        found = read("mm-safetybench", tmp_path)
        assert [each.scored_by[0] for each in found] == list(CRITERIA.values())
        assert [shown(each) for each in found] == [an_image(n) for n in range(13)]
        put_csv(tmp_path / "MMSafetyBench.tsv", rows[:-1])
        with pytest.raises(ConfigError, match="13-Gov_Decision"):
            read("mm-safetybench", tmp_path)
        with pytest.raises(ConfigError, match="tiny list"):
            read("mm-safetybench-tiny", tmp_path)

    def test_the_tsv_may_hold_data_urls_and_rows_in_words_alone(self, tmp_path: Path) -> None:
        rows = [
            {"index": f"{place}.{n}", "image": image, "question": "asked", "variant": variant, "category": scenario}
            for place, scenario in enumerate(CRITERIA)
            for n, (variant, image) in enumerate(
                [("Text_only", ""), ("SD", f"data:image/png;base64,{in_base64(an_image(place))}")]
            )
        ]
        put_csv(tmp_path / "MMSafetyBench.tsv", rows)
        found = list(registry.benchmark_named("mm-safetybench").items(tmp_path))
        expected = [None if n % 2 == 0 else an_image(n // 2) for n in range(26)]
        assert [shown(each) for each in found] == expected
        put_csv(tmp_path / "MMSafetyBench.tsv", [{**row, "variant": "SD"} for row in rows])
        with pytest.raises(ConfigError, match="has no image"):
            read("mm-safetybench", tmp_path)

    def test_forms_of_a_question_in_the_tsv_hang_together(self, tmp_path: Path) -> None:
        openings = ("The image", "The bottom of the image", "The bottom of the image")
        asked = [(scenario, opening) for scenario in CRITERIA for opening in openings]
        rows = [
            {
                "index": n,
                "image": in_base64(an_image(n)),
                "question": f"{opening} shows a phrase.",
                "category": scenario,
            }
            for n, (scenario, opening) in enumerate(asked)
        ]
        put_csv(tmp_path / "MMSafetyBench.tsv", rows)
        found = read("mm-safetybench", tmp_path)
        assert len({each.cluster for each in found}) == len(CRITERIA)
        assert {each.cluster.split("/")[0] for each in found} == set(CRITERIA)

    def test_images_are_read_only_when_they_are_asked_for(self, tmp_path: Path) -> None:
        found = read("mm-safetybench", mm_release(tmp_path))
        for file in tmp_path.rglob("*.jpg"):
            file.write_bytes(an_image("changed since"))
        assert shown(next(each for each in found if each.image)) == an_image("changed since")


class TestFiles:
    def test_a_broken_file_is_named(self, tmp_path: Path) -> None:
        put(tmp_path / "test/harm-0.parquet", b"PAR1 no table")
        with pytest.raises(ConfigError, match="cannot be read"):
            read("harmeval", tmp_path)

    def test_an_unknown_column_tells_the_spellings_that_are_known(self, tmp_path: Path) -> None:
        put_parquet(tmp_path / "test/harm-0.parquet", [{"words": "asked", "image": b""}])
        with pytest.raises(ConfigError, match=r"question, prompt.*words"):
            read("harmeval", tmp_path)

    @pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "imgs/../../secret.png"])
    def test_a_name_in_a_list_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path, name: str) -> None:
        put(tmp_path / "secret.png", b"secret")
        put_json(tmp_path / "set/data.json", [{"instruction": "x", "instruction_id": 1, "image_path": name}])
        with pytest.raises(ConfigError, match="leads out"):
            read("vlsbench", tmp_path / "set")

    def test_the_links_of_a_hubs_cache_are_followed(self, tmp_path: Path) -> None:
        """A snapshot there is a folder of links to blobs."""
        put(tmp_path / "blobs/one", an_image(1))
        put_json(tmp_path / "blobs/two", [{"instruction": "x", "instruction_id": 1, "image_path": "imgs/1.png"}])
        (tmp_path / "snapshots/main/imgs").mkdir(parents=True)
        (tmp_path / "snapshots/main/data.json").symlink_to(tmp_path / "blobs/two")
        (tmp_path / "snapshots/main/imgs/1.png").symlink_to(tmp_path / "blobs/one")
        (found,) = read("vlsbench", tmp_path / "snapshots/main")
        assert shown(found) == an_image(1)

    def test_suites_and_names_are_found_and_others_are_listed(self) -> None:
        assert [each.name for each in registry.suite("harmeval")] == ["harmeval"]
        full = {each.name for each in registry.suite("full")}
        assert {name.partition("+")[0] for name in full} <= set(registry.BENCHMARKS)
        assert full >= {name for suite in ("core", "safety", "ability", "chef") for name in registry.SUITES[suite]}
        with pytest.raises(ConfigError, match="no suite and no benchmark") as caught:
            registry.suite("no-such")
        assert "harmeval" in caught.value.then and "safety" in caught.value.then


def test_what_is_read_can_be_written_down(tmp_path: Path) -> None:
    """Everything but the image is plain values."""
    for each in read("mm-safetybench", mm_release(tmp_path, ids=1)):
        json.dumps(each._replace(image=None))


class TestRun:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A run with an image of each split, and a benign twin of the test's."""
        with RunFolder(tmp_path / "my") as run:
            made = [
                filled(Image, blob=run.blobs.put(an_image(split)), split=split, leaf=f"of {split}", subject="a toy")
                for split in ("train", "validation", "test", "held_out")
            ]
            twin = filled(Image, blob=run.blobs.put(an_image("twin")), split="test", leaf="of test", twin_of=made[2].id)
            run.write_rows("selection", Image, [*made, twin])
            asked = [
                filled(Question, image_id=image.id, text=f"{image.leaf}, {harmful}", harmful=harmful)
                for image in made
                for harmful in (True, False)
            ]
            asked.append(filled(Question, image_id=twin.id, text="of the twin", harmful=False))
            run.write_rows("questions", Question, asked)
        return tmp_path / "my"

    def test_only_what_no_training_saw_is_asked(self, folder: Path) -> None:
        found = read("run", folder)
        assert Counter((each.subset, each.wants) for each in found) == {
            ("test", "refuse"): 1,
            ("test", "help"): 2,
            ("held_out", "refuse"): 1,
            ("held_out", "help"): 1,
        }
        assert {shown(each) for each in found} == {an_image("test"), an_image("twin"), an_image("held_out")}
        assert {each.subject for each in found} == {"a toy", ""} and {each.context for each in found} == {""}

    def test_an_image_and_its_twin_hang_together(self, folder: Path) -> None:
        assert len({each.cluster for each in read("run", folder) if each.subset == "test"}) == 1

    def test_twins_alone_are_harmless_questions(self, folder: Path) -> None:
        (twin,) = read("twins", folder)
        assert (twin.question, twin.wants, shown(twin)) == ("of the twin", "help", an_image("twin"))

    def test_a_folder_that_is_no_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no run in this folder"):
            read("run", tmp_path)
