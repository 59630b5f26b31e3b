"""Make a certificate chain for 127.0.0.1, in the peers' environment: ``chain.py FOLDER``.

Root, intermediate and leaf with RSA keys of 2,048 bits, as S3's are. ``server.pem`` holds key, leaf and
intermediate; ``root.pem`` the root.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trustme


def main(folder: Path) -> None:
    """Write the files."""
    root = trustme.CA(key_type=trustme.KeyType.RSA)
    leaf = root.create_child_ca(key_type=trustme.KeyType.RSA).issue_cert(
        "127.0.0.1", key_type=trustme.KeyType.RSA
    )
    root.cert_pem.write_to_path(folder / "root.pem")
    (folder / "server.pem").write_bytes(
        leaf.private_key_pem.bytes() + b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
