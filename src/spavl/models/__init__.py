"""The one way to ask a model. See `shop` for the names of models and `types` for what is asked."""
