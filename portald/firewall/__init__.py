"""Enforcement: three verbs (``portald.ports.Firewall``), each backend one file.

``nftables``  the kernel, through nft's JSON command line
``memory``    only remembers: for tests, and for trying portald out without privileges
``remote``    the same verbs across the socket to portald-firewall
"""
