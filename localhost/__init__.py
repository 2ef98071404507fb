"""Serves a Python function app over HTTP, with its timers, as the Azure Functions host does, but without Azure.

In the order a request meets them: `server` listens, `host` receives, `request` reads, `router` and `routes` choose the
function, `keys` admits, `functions` calls it, `response` writes. `timers` and `ncrontab` run what no request starts,
`config` and `loading` are what all of them are built from.
"""
