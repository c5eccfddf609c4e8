"""Which images might do for each leaf, and where each is to be fetched. Writes Candidate rows; fetches nothing."""
