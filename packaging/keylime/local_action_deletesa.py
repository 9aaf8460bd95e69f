"""In the place of keylime's own local_action_deletesa, for an action_list that names it.

keylime's own went through racoonctl, and needed a live phase 1; xfrmd knows which SAs rest on the certificate.
"""

from local_action_xfrmd_revoke import execute  # noqa: F401
