"""Grading: is the answer of a completion equal to the gold answer? Never evaluates model text, never guesses."""
