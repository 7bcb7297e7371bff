"""The benchmark: methods by numbers of labelled patients by draws, run, evaluated and reported."""
