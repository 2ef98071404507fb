"""Copies a deployment's storage to another account while it serves: for backups, drills, moves (docs/recovery.md)."""
