"""The watch: which cycles have granules that were not seen, and which are worth announcing.

`rules` says when, `cursor` what is known, `look` asks the source, `judge` decides, `poll` does
all of it once; `answers` is how a run says that its work is safe.
"""
