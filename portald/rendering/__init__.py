"""Settings for the programs beside portald: DHCP, DNS, router advertisements and https."""
