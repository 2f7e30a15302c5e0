"""Watch a product: poll its source, and decide which events of its cycles to emit.

`cursor` holds the state between polls, `poll` reads the source and decides, `events` builds the
events, `answers` records which of them a successful run has processed.
"""
