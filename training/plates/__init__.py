"""Training of the licence-plate detector: everything synthetic is drawn here, and one labelled set is real."""
