"""What happens to the members on their way: cleanup, fit, survey, checks."""
