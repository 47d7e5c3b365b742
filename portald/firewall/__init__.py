"""Enforcement: the verbs of ``portald.ports.Firewall``, in several ways.

``nftables``  the kernel, through nft's command line
``ipset``     older kernels, through iptables and ipset
``memory``    only remembers: for tests, and for trying portald out without privileges
``remote``    the same verbs across the socket to portald-firewall, whose end is ``server``
"""
