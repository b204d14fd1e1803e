"""Sampling: one session protocol and its backends.

`session` is the protocol, `flows` drives multi-step interactions over it. Backends are imported by the module that
holds them (`local`, `server`, `replay`, `scripted`), so that this package costs nothing to import.
"""
