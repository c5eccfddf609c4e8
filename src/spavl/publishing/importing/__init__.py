"""Data sets made elsewhere, brought in as a run from which training and evaluation go on."""
