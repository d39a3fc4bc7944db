"""What check_data.py makes of an inspection: advice, a measured cost, words and a page."""
