"""The wire contract's vocabulary: error codes, request bodies, durations. It knows nothing of the rest."""
