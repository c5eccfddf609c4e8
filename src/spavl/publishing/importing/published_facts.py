"""What an imported data set says about a sample beyond its texts."""

from spavl.publishing.importing.meta import QuestionMeta
from spavl.publishing.importing.sources import ImportedRow
from spavl.publishing.importing.tidied import literal_or_none
from spavl.records import Label, PublishedFacts, Sample


def facts_of(sample: Sample, fact: QuestionMeta | None, row: ImportedRow) -> PublishedFacts:
    """The judge's reasons and the guard's labels of a sample, from meta_files or from a rich row."""
    if fact:
        reasons = fact.reasons
        labels = [fact.label_of(row.chosen or ""), fact.label_of(row.rejected or "")]
    else:
        said = row.more.get("preference_votes") or row.more.get("published_reasons") or ()
        reasons = tuple(map(str, said)) if isinstance(said, list | tuple) else ()
        labels = [
            literal_or_none(row.more.get(f"{side}_verdict_label") or row.more.get(f"published_{side}_label"), Label)
            for side in ("chosen", "rejected")
        ]
    return PublishedFacts(sample_id=sample.id, reasons=reasons, chosen_label=labels[0], rejected_label=labels[1])
