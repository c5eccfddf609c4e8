"""The report of a run: one HTML file that needs nothing else, fit for a paper's appendix."""
