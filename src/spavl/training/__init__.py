"""Trains models: objectives, the training loop, PPO, prefix trees. Imports torch at module level."""
