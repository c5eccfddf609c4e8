"""Three kinds of questions about each image, and the same ones about its benign twin."""
