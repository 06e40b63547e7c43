//! Signatures of the installation (Ed25519): the key pair is derived from the house key, so it is the
//! same in every process, and whoever has the public key can check what was kept elsewhere.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_domain::audit::{Checkpoint, SignedCheckpoint};
use zeroize::Zeroizing;

use super::Keyring;
use crate::error::{Error, Result};

/// Signs a checkpoint with the installation's key.
pub(crate) fn sign(house: &Keyring, checkpoint: Checkpoint) -> Result<SignedCheckpoint> {
    let seed = Zeroizing::new(house.derived("audit checkpoint", b"ed25519"));
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
        .map_err(|_| Error::Sealed("the key of the audit log was refused".to_owned()))?;
    let signature = pair.sign(checkpoint.text().as_bytes());
    Ok(SignedCheckpoint {
        checkpoint,
        key: STANDARD.encode(pair.public_key().as_ref()),
        signature: STANDARD.encode(signature.as_ref()),
    })
}

/// Whether the signature of a checkpoint is made with the key that it names. Whose key that is, is
/// for the caller to compare.
pub fn is_signed(checkpoint: &SignedCheckpoint) -> bool {
    let decoded = (STANDARD.decode(&checkpoint.key), STANDARD.decode(&checkpoint.signature));
    let (Ok(key), Ok(signature)) = decoded else { return false };
    let text = checkpoint.checkpoint.text();
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use slipway_domain::audit::Anchor;

    #[test]
    fn a_signature_holds_for_its_text_and_its_key_alone() {
        let ring = || Keyring::parse(&Keyring::generate().unwrap()).unwrap();
        let (house, other) = (ring(), ring());
        let at = DateTime::from_timestamp(1, 0).unwrap();
        let checkpoint =
            Checkpoint { head: Anchor::GENESIS, pruned: Anchor::GENESIS, unmarked: 0, at };
        let signed = sign(&house, checkpoint).unwrap();
        assert!(is_signed(&signed));
        assert_eq!(signed, sign(&house, checkpoint).unwrap(), "the same key again");
        let foreign = sign(&other, checkpoint).unwrap();
        assert_ne!(foreign.key, signed.key);
        let later = Checkpoint { at: DateTime::from_timestamp(2, 0).unwrap(), ..checkpoint };
        for wrong in [
            SignedCheckpoint { checkpoint: later, ..signed.clone() },
            SignedCheckpoint { key: foreign.key, ..signed.clone() },
            SignedCheckpoint { signature: "AA==".to_owned(), ..signed.clone() },
            SignedCheckpoint { key: "?".to_owned(), ..signed },
        ] {
            assert!(!is_signed(&wrong), "{wrong:?}");
        }
    }
}
