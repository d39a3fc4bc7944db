"""HTML pages in one style; all texts from files and options are escaped in them."""
