"""Pure text work: prompts and chat templates, answer extraction and reading, step splitting.

Nothing here imports torch, transformers or sympy; tokenizers come in as arguments.
"""
