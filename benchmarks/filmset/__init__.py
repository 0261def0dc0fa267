"""A set of labelled films, composed from real photographs, so that every face's place is known exactly."""
