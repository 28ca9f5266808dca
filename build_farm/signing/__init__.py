"""Who signs what the farm makes: one small interface, and its local implementation.

`BUILD_SIGNER` names the class. A hardware token (PKCS #11) or a cloud's key service is another class with the same
four methods: nothing else ever sees a private key. Only the `sign` worker makes a signer (`signing.local`).
"""

from build_farm.signing.documents import sign_envelope, sign_jws
from build_farm.signing.interface import Signer, SignerUnavailable

__all__ = ["Signer", "SignerUnavailable", "sign_envelope", "sign_jws"]
