"""Published protocols as presets: what a paper's own judge, prompt and formula make of the same answers."""
