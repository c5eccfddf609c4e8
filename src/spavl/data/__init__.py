"""The data stages, one folder each: taxonomy to dataset. None imports another."""
