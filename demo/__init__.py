"""Shows a loop learn: two published tutorials, played against a served loop through the official Python SDK."""
