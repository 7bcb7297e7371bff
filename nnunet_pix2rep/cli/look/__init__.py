"""Commands that show what a network learned."""
