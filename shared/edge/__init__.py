"""Where HTTP meets the product: requests into calls after the key check, results and refusals into responses."""
