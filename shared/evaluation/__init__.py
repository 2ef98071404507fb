"""Evaluations and feature importances as resources: what was asked for, and how far it is."""
