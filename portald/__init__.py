"""A captive portal that proves a guest's phone number and opens the firewall for that device."""

__version__ = "0.1.0"
