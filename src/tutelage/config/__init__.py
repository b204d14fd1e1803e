"""Typed settings: the models (`settings`), reading (`loading`), writing (`writing`) and describing them (`describing`).

Flat by design: one name, one value, no nesting, no composition. Not a general configuration library.
"""
