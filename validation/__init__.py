"""Is this data fit to use? Rules in pandas, suites in Great Expectations."""
