"""Training: pure losses, one batch type, one loop. The only room that holds torch from the start."""
