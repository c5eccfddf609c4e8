from spavl.stages.notes import JsonEstimate, JsonRecord, StageNotes


class TierNotes(JsonRecord):
    """The tier of a responder and the unsafe rate that it comes from."""

    model: str
    tier: int
    sure: bool = False
    # The tiers of the two ends of the rate's interval.
    could_be: tuple[int, ...] = ()
    unsafe: JsonEstimate


class PairsNotes(StageNotes):
    tiers: tuple[TierNotes, ...] = ()
