"""What earlier releases have stored, and tests that it is still served."""
