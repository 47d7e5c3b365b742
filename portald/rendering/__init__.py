"""Settings for the programs beside portald: DHCP, DNS and router advertisements."""
