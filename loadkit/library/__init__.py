"""What a program calls: the command's runs as functions, in a running event loop or without one."""
