"""Studies: grids of trainings and evaluations on parts of a data set. See docs/studies.md."""
