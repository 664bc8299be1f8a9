"""Events and results, as text and as JSON."""
