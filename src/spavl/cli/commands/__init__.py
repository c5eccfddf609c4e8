"""What each verb of the command does: one file a verb, `taxonomy show` in `taxonomy_show.py`.

A file has two doors: `add_options(parser)` and `run(options)`. It is loaded when its verb is typed.
"""
