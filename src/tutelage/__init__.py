"""tutelage: let a language model practise problems whose answers can be checked.

Importing the package imports nothing heavy: no torch, transformers or sympy.
"""

__version__ = "0.1.0"
