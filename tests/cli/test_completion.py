"""A shell completes commands, options and their values, by the script that spavl prints for it."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spavl.cli.completion import SHELLS
from spavl.cli.main import FAMILIES, commands
from spavl.evaluation.benchmarks.registry import SUITES

START = "import sys; from spavl.cli.main import main; sys.exit(main())"


@functools.cache
def printed(shell: str) -> str:
    command = [sys.executable, "-c", START, "completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def in_bash(line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a line, with the function that the script registers."""
    words = [word for each in line.split(" ") for word in re.split("(=)", each) if word or not each]
    typed = " ".join(map(shlex.quote, words))
    code = f"""
source {shlex.quote(str(folder / "spavl.bash"))}
[[ $(complete -p spavl) == *'-F _spavl spavl' ]] || exit 9
COMP_WORDS=({typed}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_spavl; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-uc", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def in_zsh(line: str, folder: Path) -> list[str]:
    """As zsh calls the function, with the two that it offers by written out."""
    typed = " ".join(map(shlex.quote, line.split(" ")))
    code = f"""
compdef() {{ [[ $1 == _spavl && $2 == spavl ]] || exit 9 }}
compadd() {{ shift; print -l -- ${{(M)@:#${{words[CURRENT]}}*}} }}
_files() {{ : }}
source {shlex.quote(str(folder / "spavl.zsh"))}
words=({typed}); CURRENT=$#words
_spavl
"""
    done = subprocess.run(["zsh", "-fc", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def in_fish(line: str, folder: Path) -> list[str]:
    file, home = shlex.quote(str(folder / "spavl.fish")), folder / "home"
    home.mkdir(exist_ok=True)
    code = f"source {file}; complete -C {shlex.quote(line)}"
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    fish = str(shutil.which("fish"))
    done = subprocess.run([fish, "-c", code], cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]


IN = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


@pytest.fixture(params=sorted(IN))
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"no {name} is installed")
    (tmp_path / f"spavl.{name}").write_text(printed(name))
    return name


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("spavl tr", {"train"}),
        ("spavl ", {family.name for family in FAMILIES}),
        ("spavl train ", {"dpo", "sft", "reward", "ppo", "merge"}),
        ("spavl data ex", {"export"}),
        ("spavl train dpo --lear", {"--learning-rate"}),
        ("spavl train dpo --loss-type ", {"sigmoid", "hinge", "ipo"}),
        ("spavl train dpo --model x --loss-type h", {"hinge"}),
        ("spavl build my.toml --until resp", {"responses"}),
        ("spavl eval --suite cor", {"core"}),
        ("spavl data export runs/x --format ll", {"llamafactory", "llava"}),
        ("spavl pool show mod", {"modern-12"}),
        ("spavl completion ", set(SHELLS)),
        ("spavl taxonomy show --te", {"--terms"}),
        ("spavl sft --", set()),
    ],
)
def test_what_may_follow_is_offered(shell: str, tmp_path: Path, line: str, offered: set[str]) -> None:
    assert set(IN[shell](line, tmp_path)) == offered


def test_several_suites_may_follow_each_other(shell: str, tmp_path: Path) -> None:
    if shell == "fish":
        pytest.skip("fish offers values behind their option alone")
    assert set(SUITES) <= set(IN[shell]("spavl eval x --suite core ", tmp_path))
    assert "--guard" in IN[shell]("spavl eval x --suite core --", tmp_path)


def test_in_bash_a_value_may_stand_behind_an_equals_sign(tmp_path: Path) -> None:
    (tmp_path / "spavl.bash").write_text(printed("bash"))
    assert in_bash("spavl train dpo --loss-type=", tmp_path) == ["sigmoid", "hinge", "ipo"]
    assert in_bash("spavl train dpo --loss-type=i", tmp_path) == ["ipo"]


def test_bash_reads_it_from_the_command_itself(tmp_path: Path) -> None:
    """As people type it: with a spavl on the path."""
    program = tmp_path / "spavl"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m spavl "$@"\n')
    program.chmod(0o755)
    code = f"""
PATH={shlex.quote(str(tmp_path))}:$PATH
source <(spavl completion bash)
COMP_WORDS=(spavl train pp); COMP_CWORD=2; _spavl; echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ppo\n", "")


@pytest.mark.parametrize("name", sorted(SHELLS))
def test_every_command_and_every_option_stands_in_the_script(name: str) -> None:
    text = printed(name)
    for command in commands():
        assert all(re.search(rf"\b{word}\b", text) for word in command.name.split())
        for action in command.parser().visible_actions():
            for option in action.option_strings[-1:]:
                assert (f"-l {option[2:]} " if name == "fish" else f"{option} ") in text.replace("'", " ")
