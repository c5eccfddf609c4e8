"""All published protocols by name, and the checks of what each needs."""

from collections.abc import Collection, Iterable

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.registry import suite
from spavl.evaluation.config import AsPublishedConfig, ProtocolName
from spavl.evaluation.items import placed_benchmarks
from spavl.evaluation.protocols import advbench, mm_safetybench, spa_vl, vlguard
from spavl.evaluation.protocols.phrases import phrases_named
from spavl.evaluation.protocols.types import JudgeRule, PhraseRule, ProtocolMeasure, PublishedProtocol
from spavl.judges.registry import is_rules, model_of

PROTOCOLS: dict[str, PublishedProtocol] = {
    each.name: each for each in (spa_vl.PROTOCOL, mm_safetybench.PROTOCOL, vlguard.PROTOCOL, advbench.PROTOCOL)
}
_ALL: ProtocolName = "published"


def protocols_named(names: Iterable[str]) -> list[PublishedProtocol]:
    wanted = set(names)
    return [each for each in PROTOCOLS.values() if each.name in wanted or _ALL in wanted]


def check_protocols(settings: AsPublishedConfig) -> None:
    """Check that each protocol has a benchmark that it scores and the judge that it asks, before anything is asked."""
    asked = {benchmark.name for name in settings.suite for benchmark in suite(name)}
    wanted = protocols_named(settings.protocol)
    if _ALL in settings.protocol and not any(asked & set(each.benchmarks) for each in wanted):
        raise _not_asked_error("published", [name for each in wanted for name in each.benchmarks])
    for protocol in wanted:
        if _ALL not in settings.protocol and not asked & set(protocol.benchmarks):
            raise _not_asked_error(protocol.name, protocol.benchmarks)
        for measure in protocol.measures:
            if asked & set(measure.benchmarks) and isinstance(measure.rule, JudgeRule):
                _check_judge(protocol, measure, measure.rule, settings)
            elif asked & set(measure.benchmarks) and isinstance(measure.rule, PhraseRule):
                phrases_named(measure.rule.phrases, [each.folder for each in placed_benchmarks(settings)])


def judges_asked(settings: AsPublishedConfig) -> list[str]:
    """The models that the protocols ask about the benchmarks of the suite."""
    asked = {benchmark.name for name in settings.suite for benchmark in suite(name)}
    rules = [
        measure.rule
        for protocol in protocols_named(settings.protocol)
        for measure in protocol.measures
        if asked & set(measure.benchmarks) and isinstance(measure.rule, JudgeRule)
    ]
    return list(dict.fromkeys(judge_uri(rule, settings) for rule in rules))


def judge_uri(rule: JudgeRule, settings: AsPublishedConfig) -> str:
    """The model that a rule asks: of the guard of its form if there is one, else the judge's; empty if none."""
    forms = (uri for uri in settings.guard if rule.guard_form and uri.partition("/")[0] == rule.guard_form)
    if guard := next(forms, ""):
        return model_of(guard)
    return model_of(settings.judge) if settings.judge and not is_rules(settings.judge) else ""


def _check_judge(
    protocol: PublishedProtocol, measure: ProtocolMeasure, rule: JudgeRule, settings: AsPublishedConfig
) -> None:
    if judge_uri(rule, settings):
        return
    theirs = rule.papers_judges[0]
    guard = f"--guard {rule.guard_form}/openai/{theirs}@URL, or " if rule.guard_form else ""
    then = f"{guard}--judge openai/NAME; the paper's judge is {theirs}, and any other is named in the table"
    raise ConfigError(
        f"{protocol.name} has a model judge its {measure.title}, and none is named", where="--protocol", then=then
    )


def _not_asked_error(name: str, benchmarks: Collection[str]) -> ConfigError:
    named = ", ".join(dict.fromkeys(benchmarks))
    then = f"ask one of these: --suite {next(iter(benchmarks))}"
    return ConfigError(f"{name} scores {named}, and none of these is asked", where="--protocol", then=then)
