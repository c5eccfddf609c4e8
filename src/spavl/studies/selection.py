"""Which pairs a cell trains on: a pure function of the data set, the settings and the seed."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from spavl.errors import ConfigError
from spavl.records import Sample, content_hash
from spavl.studies.bias.balance import balance_pairs
from spavl.studies.config import PairSelection, ResponderTier
from spavl.studies.data import StudyData
from spavl.text.nearest import suggestion


def select_pairs(data: StudyData, selection: PairSelection, seed: int) -> list[Sample]:
    """The pairs in the order of the data set. Labels are swapped last, so that noise changes no other criterion."""
    found = matching_pairs(data, selection, seed)
    if selection.pairs is not None:
        found = _subset(found, selection.pairs, seed)
    return _with_noise(found, selection.noise, seed)


def matching_pairs(data: StudyData, selection: PairSelection, seed: int) -> list[Sample]:
    """All pairs that fulfil the criteria, however many are asked for."""
    if lack := lacking(data, selection):
        then = "use a run that spavl build has made, or a data set with safety labels"
        raise ConfigError(lack, where="selection", then=then)
    models = _responders(data, selection, seed)
    parts = _leaves(data, selection)
    found = [
        each
        for each in (*data.pairs, *(each for reason in selection.add for each in data.left_out[reason]))
        if (not selection.kinds or each.kind in selection.kinds)
        and (not selection.contrasts or each.contrast in selection.contrasts)
        and (models is None or {each.chosen_model, each.rejected_model} <= models)
        and each.leaf in parts
    ]
    if selection.unsafe_chosen == "drop":
        found = [each for each in found if data.labels.get((each.question_id, each.chosen)) != "unsafe"]
    return list(balance_pairs(found, seed).samples) if selection.balanced else found


def lacking(data: StudyData, selection: PairSelection) -> str:
    """What a selection needs and the data set does not have; empty if it has all."""
    if reasons := [reason for reason in selection.add if not data.left_out[reason]]:
        kinds = " and ".join(reason.replace("_", " ") for reason in reasons)
        return f"the build of this data set has left out no {kinds} pairs"
    if selection.unsafe_chosen == "drop" and not data.labels:
        return "the data set has no verdicts of a guard on the answers"
    if selection.responders == "all" and selection.responder_count is None:
        return ""
    if not data.unsafe_rates:
        return "the data set does not name the models of its answers, or has no verdicts on them"
    models = len(tier_of_responders(data, selection.responders))
    if selection.responder_count is not None and selection.responder_count > models:
        return f"the data set has answers of {models} such models, not of {selection.responder_count}"
    return ""


def tier_of_responders(data: StudyData, tier: ResponderTier) -> frozenset[str]:
    """The models of one third of the pool, in the order of their unsafe rates."""
    ranked = sorted(data.unsafe_rates, key=lambda model: (data.unsafe_rates[model], model))
    if tier == "all":
        return frozenset(ranked)
    place, count = ("safe", "relatively_safe", "unsafe").index(tier), len(ranked)
    return frozenset(ranked[count * place // 3 : count * (place + 1) // 3])


def _responders(data: StudyData, selection: PairSelection, seed: int) -> frozenset[str] | None:
    """The models that pairs may have; None if any may."""
    if selection.responders == "all" and selection.responder_count is None:
        return None
    models = tier_of_responders(data, selection.responders)
    if selection.responder_count is None:
        return models
    # In one order for all counts, so that a smaller pool is a part of a larger one.
    order = sorted(models, key=lambda model: _lot(seed, model))
    return frozenset(order[: selection.responder_count])


def _leaves(data: StudyData, selection: PairSelection) -> frozenset[str]:
    leaves = frozenset(each.leaf for each in data.pairs)
    only = leaves_named(data, selection.only) if selection.only else leaves
    return (leaves & only) - leaves_named(data, selection.without)


def leaves_named(data: StudyData, names: Iterable[str]) -> frozenset[str]:
    """The leaves with these names, or in the classes and domains with these names."""
    tree = {each.leaf: {each.leaf} for each in data.pairs}
    tree |= {each.leaf: {each.leaf, each.group, each.domain} for each in data.categories.values()}
    known = {part for parts in tree.values() for part in parts}
    for name in names:
        if name not in known:
            then = suggestion(name, sorted(known), "known")
            raise ConfigError(f"no leaf, class or domain has this name: {name!r}", where="selection", then=then)
    wanted = set(names)
    return frozenset(leaf for leaf, parts in tree.items() if wanted & parts)


def _subset(pairs: Sequence[Sample], number: int, seed: int) -> list[Sample]:
    """The first ones in an order that depends on the seed only: of two sizes the smaller is a part of the larger."""
    if number >= len(pairs):
        return list(pairs)
    kept = {each.id for each in sorted(pairs, key=lambda each: _lot(seed, each.id))[:number]}
    return [each for each in pairs if each.id in kept]


def _with_noise(pairs: Sequence[Sample], share: float, seed: int) -> list[Sample]:
    """Answers swapped in this share of the pairs; of two shares the smaller swaps a part of what the larger swaps."""
    number = round(share * len(pairs))
    order = sorted(pairs, key=lambda each: _lot(seed, f"noise {each.id}"))
    swapped = {each.id for each in order[:number]}
    return [_with_swapped_answers(each) if each.id in swapped else each for each in pairs]


def _with_swapped_answers(pair: Sample) -> Sample:
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        chosen_model=pair.rejected_model,
        rejected_model=pair.chosen_model,
    )


def _lot(seed: int, name: str) -> float:
    return random.Random(content_hash([seed, name])).random()
