"""The nnunet_pix2rep command: a file per subcommand, in a folder per purpose, and the options that several share."""
