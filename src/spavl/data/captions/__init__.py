"""What each image shows, in one sentence and at length, by a model; where it refuses, by the image's source."""
