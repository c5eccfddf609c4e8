"""The shortcut audit: how well something that is not safety tells the chosen answer from the rejected one.

A probe is a small classifier that sees one thing: lengths, first words, words, responders or the image. It is fitted
on the differences of the two answers of a pair, without an intercept, so that their order changes nothing and chance
is exactly 0.5. The image is the same for both answers and cannot tell them apart. It may tell which kind of answer is
chosen: among pairs of which exactly one answer refuses, whether it is the chosen one. Here chance is 0.5 for the AUC
only, whatever the share of chosen refusals.

Images are put in an order that a seed decides and cut into ten blocks. The pairs of a block are scored by a probe that
was fitted on all earlier blocks, beginning with the fifth. So no image is both learned from and scored. K-fold
cross-validation keeps that rule too, but its folds learn from each other's pairs, which makes their scores dependent:
its intervals miss the truth too often. Here the score of a pair depends on earlier pairs alone, and intervals hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spavl.judges.refusal_regex import seems_refused
from spavl.records import Sample, content_hash
from spavl.statistics import Estimate, rate_by_cluster
from spavl.statistics.auc import auc_by_cluster
from spavl.store.typed_json import to_json
from spavl.studies.bias.features import (
    image_features,
    length_features,
    name_features,
    opening_features,
    refusal_features,
    word_features,
)
from spavl.studies.bias.logistic import Matrix, Vector, fit_logistic
from spavl.text.similarity import count_words

Shortcut = Literal["length", "refusal", "first words", "words", "responder", "image: refusal", "image: length"]
PENALTY = 1.0
BLOCKS, LEARNED_FIRST = 10, 4
# With fewer images the intervals would say nothing.
FEWEST_IMAGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScore:
    """How well one probe tells, on images that it was not fitted on."""

    shortcut: Shortcut
    # The share of scored pairs in which the chosen answer has the higher score; a tie counts half. None for the image.
    accuracy: Estimate | None
    # How often a pair's right order, or an image whose chosen answer is of the kind, has the higher score.
    auc: Estimate | None
    # The same probe with the labels of all pairs drawn at random: 0.5, up to its interval.
    random_labels: Estimate | None
    # The pairs that the probe is about, their images, and the scored pairs that it has no score for.
    pairs: int
    images: int
    ties: int
    # Empty, or why there is no number.
    not_measured: str = ""

    @property
    def strength(self) -> Estimate | None:
        """The number by which probes are compared: the accuracy, or for the image the AUC."""
        return self.accuracy or self.auc


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutAudit:
    probes: tuple[ProbeScore, ...]
    pairs: int
    images: int

    def strongest(self) -> ProbeScore | None:
        """The probe whose interval begins highest; None if no interval is above chance."""
        clear = [(own.low, probe) for probe in self.probes if (own := probe.strength) and own.low > 0.5]
        return max(clear, key=lambda each: each[0])[1] if clear else None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = to_json(self)
        return found


class ProbeRows(NamedTuple):
    """What a probe is fitted on: a row for each pair, its label, and its image."""

    features: Matrix
    labels: NDArray[np.bool_]
    blobs: Sequence[str]
    # Whether a row is a difference of two answers: then its label is always true, and it may be turned round.
    differences: bool


def audit_shortcuts(samples: Sequence[Sample], image: Callable[[str], bytes] | None, seed: int = 0) -> ShortcutAudit:
    """Every probe on a data set's pairs. Without the images' bytes nothing is said of what they tell."""
    chosen, rejected = [each.chosen for each in samples], [each.rejected for each in samples]
    blobs = [each.blob for each in samples]
    probes = []
    views: dict[Shortcut, Callable[[Sequence[str]], Matrix]] = {
        "length": length_features,
        "refusal": refusal_features,
        "first words": opening_features,
        "words": word_features,
    }
    for shortcut, view in views.items():
        probes.append(probe_score(shortcut, _differences(view(chosen + rejected), blobs), seed))
    names = [each.chosen_model for each in samples] + [each.rejected_model for each in samples]
    probes.append(probe_score("responder", _differences(name_features(names), blobs), seed))
    if image:
        kinds: dict[Shortcut, Callable[[str], float]] = {"image: refusal": seems_refused, "image: length": count_words}
        for shortcut, kind in kinds.items():
            probes.append(probe_score(shortcut, _by_image(samples, kind, image), seed))
    return ShortcutAudit(probes=tuple(probes), pairs=len(samples), images=len(set(blobs)))


def _differences(both: Matrix, blobs: Sequence[str]) -> ProbeRows:
    """The chosen answers' features minus the rejected ones'. All features are of the order of one: none is scaled."""
    gaps: Matrix = both[: len(blobs)] - both[len(blobs) :]
    return ProbeRows(gaps, np.ones(len(blobs), dtype=bool), blobs, differences=True)


def _by_image(samples: Sequence[Sample], kind: Callable[[str], float], image: Callable[[str], bytes]) -> ProbeRows:
    """The pairs whose answers differ in a kind, with their images, and whether the chosen answer has more of it."""
    gaps = [(each.blob, kind(each.chosen) - kind(each.rejected)) for each in samples]
    blobs = [blob for blob, gap in gaps if gap]
    labels = np.array([gap > 0 for _, gap in gaps if gap], dtype=bool)
    features = image_features(blobs, image) if blobs else np.zeros((0, 1), dtype=np.float32)
    return ProbeRows(features, labels, blobs, differences=False)


def probe_score(shortcut: Shortcut, rows: ProbeRows, seed: int) -> ProbeScore:
    """One probe's accuracy and AUC on images that it was not fitted on, and the same with random labels."""
    images = len(set(rows.blobs))
    why = _why_not(rows, images)
    if why:
        return ProbeScore(
            shortcut=shortcut,
            accuracy=None,
            auc=None,
            random_labels=None,
            pairs=len(rows.blobs),
            images=images,
            ties=0,
            not_measured=why,
        )
    blocks = _blocks(rows.blobs, seed)
    scores = _forward_scores(rows, blocks)
    accuracy, auc = _results(rows, blocks, scores)
    drawn = _with_random_labels(rows, seed)
    random_accuracy, random_auc = _results(drawn, blocks, _forward_scores(drawn, blocks))
    return ProbeScore(
        shortcut=shortcut,
        accuracy=accuracy,
        auc=auc,
        random_labels=random_accuracy or random_auc,
        pairs=len(rows.blobs),
        images=images,
        ties=int((scores[blocks >= LEARNED_FIRST] == 0).sum()),
    )


def _why_not(rows: ProbeRows, images: int) -> str:
    if images < FEWEST_IMAGES:
        return f"{images} images have such pairs, and {FEWEST_IMAGES} are needed"
    if not rows.features.any():
        return "the two answers of a pair never differ in it, or it is unknown"
    if not rows.differences and len(set(rows.labels.tolist())) == 1:
        return "the same kind of answer is chosen in all of these pairs"
    return ""


def _blocks(blobs: Sequence[str], seed: int) -> NDArray[np.intp]:
    """The block of each pair: blocks have as many images each, in an order that the seed decides."""
    order = sorted(set(blobs), key=lambda blob: content_hash([seed, blob]))
    place = {blob: number * BLOCKS // len(order) for number, blob in enumerate(order)}
    return np.array([place[blob] for blob in blobs], dtype=np.intp)


def _forward_scores(rows: ProbeRows, blocks: NDArray[np.intp]) -> Vector:
    """The score of each pair by a probe that was fitted on the blocks before its own; 0 for the first blocks."""
    scores = np.zeros(len(blocks))
    for block in range(LEARNED_FIRST, BLOCKS):
        before, own = blocks < block, blocks == block
        features = rows.features if rows.differences else _with_level(rows.features)
        fit = fit_logistic(features[before], rows.labels[before], PENALTY)
        scores[own] = fit.scores(features[own])
    # A score that is zero but for rounding is none.
    return np.round(scores, 9)


def _with_level(features: Matrix) -> Matrix:
    """An intercept, so that the share of labels is not laid to the features; its penalty is as good as none."""
    level: Matrix = np.full((len(features), 1), 100, dtype=np.float32)
    return np.hstack([features, level])


def _results(rows: ProbeRows, blocks: NDArray[np.intp], scores: Vector) -> tuple[Estimate | None, Estimate]:
    scored = np.flatnonzero(blocks >= LEARNED_FIRST).tolist()
    blobs, own, within = [rows.blobs[place] for place in scored], scores[scored], blocks[scored].tolist()
    if not rows.differences:
        return None, auc_by_cluster(own.tolist(), rows.labels[scored].tolist(), blobs, within)
    right = np.where(rows.labels[scored], own, -own)
    accuracy = rate_by_cluster(((np.sign(right) + 1) / 2).tolist(), blobs)
    # Every pair in both orders: one of them is the right one.
    both = np.concatenate([right, -right]).tolist(), [True] * len(right) + [False] * len(right)
    return accuracy, auc_by_cluster(*both, blobs * 2, within * 2)._replace(n=len(right))


def _with_random_labels(rows: ProbeRows, seed: int) -> ProbeRows:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, len(rows.labels)).astype(bool) if rows.differences else rng.permutation(rows.labels)
    return rows._replace(labels=labels)
