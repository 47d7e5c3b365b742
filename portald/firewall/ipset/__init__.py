"""The backend for systems before nftables: iptables (legacy) for the rules, ipset for the guests.

``backend``  the verbs of ``portald.ports.Firewall``
``change``   plans what to delete and to add
``picture``  what is in the sets, and what that means for each session
``layout``   which sets there are, and what is put into them for a grant
``ledger``   what the kernel remembers of a session besides its addresses
``sets``     reads and writes elements of sets
``rules``    the rules, as data
``tables``   puts the rules into the kernel and takes them out again
``child``    the same through python-iptables, in a process of its own
``flows``    cuts connections by address
``survey``   what else on this machine stands in the way
"""

from portald.firewall.ipset.backend import IpsetFirewall as IpsetFirewall
