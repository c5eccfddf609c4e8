"""Two answers to a question, drawn from responders on different tiers of safety."""
