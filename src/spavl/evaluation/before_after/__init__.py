"""The evaluation of a build: the model before alignment and after it, by the stages that `spavl eval` runs."""
