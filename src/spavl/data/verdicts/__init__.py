"""A guard labels every answer safe, unsafe or invalid."""
