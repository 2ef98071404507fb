"""Deciding: context and actions into a ranking drawn from the model's distribution."""
