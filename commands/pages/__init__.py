"""Pages for people: one file of HTML each, in one style; all names in them are escaped."""
