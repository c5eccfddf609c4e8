"""The dry run of an exam: it counts what the exam then asks, sends nothing and leaves nothing behind."""

import asyncio
from pathlib import Path
from typing import Any

from tests.exams import SAFE, is_judging, said, sit, write_spa_vl
from tests.servers import Body, ChatServer, body_hash

from spavl.exam_forecast import foretell_exam
from spavl.exams.config import ExamConfig

COMPARED = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\nharmless: tie\nhelpful: tie\noverall: tie"


def speak(body: Body) -> str:
    text = said(body)
    if "class: full_compliance" in text:
        return "class: full_compliance"
    if "overall:" in text:
        return COMPARED
    return SAFE if is_judging(body) else f"answer {body_hash(body)}"


def foretold(settings: dict[str, Any], out: Path) -> float:
    forecast, told = asyncio.run(foretell_exam(ExamConfig(**settings), out))
    assert [line.strip().split(":")[0] for line in told[1:]] == ["harmeval", "helpeval"]
    assert all(line.likely.calls <= line.most.calls for line in forecast.lines)
    return sum(line.likely.calls for line in forecast.lines)


def test_a_dry_run_counts_what_is_then_asked(tmp_path: Path) -> None:
    data = write_spa_vl(tmp_path / "data", 14, 10)
    out = tmp_path / "exam"
    with ChatServer(speak) as server:
        settings = {
            "models": tuple(f"{name}=openai/{name}@{server.url}" for name in ("one", "two")),
            "suite": ("harmeval", "helpeval"),
            "data": (str(data),),
            "guard": (f"openai/guard@{server.url}",),
            "judge": f"openai/judge@{server.url}",
            "conditions": ("real", "blank", "shuffled", "first_word"),
        }
        calls = foretold(settings, out)
        assert not server.seen and not out.exists()
        sit(out, **settings)
        assert calls == len(server.seen) == sum(server.seen.values())
        assert foretold(settings, out) == 0
