"""The numbers of a report: means, intervals, tests."""
