"""Methods against each other over numbers of labelled patients: statistics, figures and the report."""
