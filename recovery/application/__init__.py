"""Wiring, and the verbs that both faces call."""
