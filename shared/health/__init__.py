"""A loop's joined log, examined as it grows, into findings that say what to do (docs/adr/0028)."""
