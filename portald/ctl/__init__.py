"""portalctl: for operators, over the daemon's admin socket."""
