"""The shortcut audit before and after balancing, and of a random subset of the size of the balanced set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.records import Sample
from spavl.store.typed_json import to_json
from spavl.studies.bias.balance import USUAL, BalancedBy, balance_pairs, random_subset
from spavl.studies.bias.shortcuts import ShortcutAudit, audit_shortcuts


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancingEffect:
    before: ShortcutAudit
    # As many pairs as the balanced set has, drawn at random: fewer pairs alone make a probe weaker.
    random_subset: ShortcutAudit
    balanced: ShortcutAudit
    by: tuple[BalancedBy, ...]
    kept: int
    # The kept pairs in which the balanced features differ.
    differing: int

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = to_json(self)
        return found


def balancing_effect(
    samples: Sequence[Sample],
    image: Callable[[str], bytes] | None,
    seed: int = 0,
    by: Sequence[BalancedBy] = USUAL,
) -> BalancingEffect:
    """`image` gives the bytes of an image by its hash; without it nothing is said of what images tell."""
    balanced = balance_pairs(samples, seed, by)
    subset = random_subset(samples, len(balanced.samples), seed)
    return BalancingEffect(
        before=audit_shortcuts(samples, image, seed),
        random_subset=audit_shortcuts(subset, image, seed),
        balanced=audit_shortcuts(balanced.samples, image, seed),
        by=balanced.by,
        kept=len(balanced.samples),
        differing=balanced.differing,
    )
