"""Everything that decides: requests into rankings, rankings and rewards into a log, the log into models.

Read the packages in the order the data flows: contract, edge, ranking, log, learning. `loops` holds what a loop is,
`storage` lies below them all, `app` puts the parts together. docs/map.md follows one event through the files.
"""
