"""What this process tells of itself outside: metrics, traces, and whom its log lines are about."""
