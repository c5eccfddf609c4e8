"""Studies: grids of cells over data, training and evaluation, each with a table of rates and intervals."""
