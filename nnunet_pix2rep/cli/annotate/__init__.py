"""Commands that choose what to annotate, take annotations in, and draft them."""
