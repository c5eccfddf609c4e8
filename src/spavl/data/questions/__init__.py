"""Three kinds of questions about each picture, and the same ones about its benign twin."""
