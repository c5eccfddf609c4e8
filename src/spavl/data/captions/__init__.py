"""What each picture shows, in one sentence and at length, by a model; where it refuses, by the picture's source."""
