"""The grid of a study: its arms, each a combination of settings, from the axes and arms that its file names."""
