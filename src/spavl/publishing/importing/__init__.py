"""Imports external data sets as a run, from which training and evaluation continue."""
