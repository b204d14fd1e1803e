"""The command line: one module for each command or family, `main.py` puts them together.

The command modules import only light things at the top; what a command works with is imported when it runs, so that
`tutelage --help` costs a fraction of a second and never loads torch.
"""
