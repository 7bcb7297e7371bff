"""The nnunet_pix2rep command, a file per subcommand."""
