"""The doors of the finished data set: its card, exports for other trainers, the way to a hub and back."""
