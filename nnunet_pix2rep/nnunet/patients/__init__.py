"""Patients of cases, few-shot folds by patient, and nnU-Net's splits files."""
