"""Lists candidate images for each leaf. Writes Candidate rows; downloads nothing."""
