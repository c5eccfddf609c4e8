"""What can be told of a text without asking a model: its language, its words, whether it repeats another."""
