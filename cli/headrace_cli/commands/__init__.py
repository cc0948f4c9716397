"""The commands, a module each, and what their help, options and output share."""
