"""In the place of keylime's own local_action_update_crl, for an action_list that names it.

keylime's own fetched the CRL; xfrmd fetches it itself after each revocation (crl_url), and until then goes by the serial.
"""

from local_action_xfrmd_revoke import execute  # noqa: F401
