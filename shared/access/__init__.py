"""Access: keys and bearer tokens into what their holder may do."""
