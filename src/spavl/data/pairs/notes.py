from spavl.stages.notes import JsonEstimate, JsonRecord, StageNotes


class TierNotes(JsonRecord):
    """The tier of a responder and the rate it rests on."""

    model: str
    tier: int
    sure: bool = False
    # The tiers of the ends of the rate's interval.
    could_be: tuple[int, ...] = ()
    unsafe: JsonEstimate


class PairsNotes(StageNotes):
    tiers: tuple[TierNotes, ...] = ()
