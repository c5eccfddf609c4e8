"""Pictures for each leaf: found, decoded safely, given to a split. Writes Image rows and blobs."""
