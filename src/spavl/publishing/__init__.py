"""Imports and exports data sets, writes the data card, uploads to a hub."""
