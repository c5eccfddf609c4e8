"""The first stage: which harms there are. Writes Category rows from a TOML file."""
