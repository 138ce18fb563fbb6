"""Metrics: features → statistics → number. Pure functions, and small streaming objects where memory asks for them."""
