"""Imports data sets made elsewhere as a run, from which training and evaluation continue."""
