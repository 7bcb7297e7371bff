"""The work folder of a suggestion: scans and label files, drafts, worklist and overview."""
