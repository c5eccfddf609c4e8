"""Captions and descriptions of each image by a model, or the source's caption where the model refuses."""
