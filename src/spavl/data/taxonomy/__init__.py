"""The first stage: reads the kinds of harm from a TOML file. Writes Category rows."""
