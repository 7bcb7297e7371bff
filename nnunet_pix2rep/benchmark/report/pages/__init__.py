"""What a report shows: text, tables, figures."""
