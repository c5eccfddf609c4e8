"""What a stage is, and how one is run, resumed, checked and estimated."""
