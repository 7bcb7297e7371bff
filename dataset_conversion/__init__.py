"""Conversions of public datasets into nnU-Net's raw format, one module per dataset."""
