"""From results to tables, figures and a document."""
