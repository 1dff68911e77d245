"""Everything that touches the network: one guarded door, its manners, the rules that sites set."""
