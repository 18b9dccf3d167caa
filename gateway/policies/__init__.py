"""Decisions as pure functions: state, time and chance in, decision out."""
