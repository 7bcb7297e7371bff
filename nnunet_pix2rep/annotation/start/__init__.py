"""Starting from nothing: a dataset made of scans without labels, planned from the images alone."""
