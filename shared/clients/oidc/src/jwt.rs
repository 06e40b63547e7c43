//! Checking tokens of others: only algorithms with two keys, only keys that the issuer publishes.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use slipway_domain::Secret;
use slipway_domain::port::identity_provider::{Claims, IdentityError};

use crate::discovery::Issuer;

/// What is taken. Nothing with a shared secret, and not nothing.
const TAKEN: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Clocks may differ by this many seconds.
const SKEW: i64 = 60;
/// Longest token, in bytes.
const MAX_TOKEN: usize = 16 << 10;

fn refused(why: &str) -> IdentityError {
    IdentityError::Refused(format!("the token is refused: {why}"))
}

/// Whether a key is for signatures of this kind, and not merely one that would do.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let use_fits = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let named = key.common.key_algorithm.is_none_or(|named| {
        named.to_string().parse::<Algorithm>().is_ok_and(|named| named == algorithm)
    });
    let kind = matches!(
        (&key.algorithm, algorithm),
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512,
        ) | (AlgorithmParameters::EllipticCurve(_), Algorithm::ES256 | Algorithm::ES384)
            | (AlgorithmParameters::OctetKeyPair(_), Algorithm::EdDSA)
    );
    use_fits && named && kind
}

/// The claims of a token: signature, issuer, audience (one of these) and times are right.
pub(crate) async fn verify(
    issuer: &Issuer,
    audiences: &BTreeSet<String>,
    token: &Secret<String>,
    now: DateTime<Utc>,
) -> Result<Claims, IdentityError> {
    let text = token.reveal();
    if text.len() > MAX_TOKEN {
        return Err(refused("it is too long"));
    }
    let header = decode_header(text).map_err(|_| refused("it is none"))?;
    if !TAKEN.contains(&header.alg) || header.crit.is_some() {
        return Err(refused("its algorithm is not taken"));
    }
    let key = issuer.key(header.kid.as_deref()).await?;
    if !fits(&key, header.alg) {
        return Err(refused("its key is for something else"));
    }
    let key = DecodingKey::from_jwk(&key).map_err(|_| refused("its key cannot be read"))?;
    let mut rules = Validation::new(header.alg);
    rules.set_issuer(&[issuer.url()]);
    rules.set_audience(&audiences.iter().collect::<Vec<_>>());
    rules.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // Times are held against the house's clock.
    rules.validate_exp = false;
    let claims: Claims =
        decode(text, &key, &rules).map_err(|why| refused(&why.to_string()))?.claims;
    // Seconds, and parts of one in some.
    #[expect(clippy::cast_possible_truncation, reason = "whatever is too large stays very large")]
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|at| at as i64);
    let now = now.timestamp();
    if time("exp").is_none_or(|at| now >= at.saturating_add(SKEW)) {
        return Err(refused("it has expired"));
    }
    for name in ["nbf", "iat"] {
        let early = time(name).is_some_and(|at| now < at.saturating_sub(SKEW));
        if early || (claims.contains_key(name) && time(name).is_none()) {
            return Err(refused("it is not good yet"));
        }
    }
    if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(refused("it is about nobody"));
    }
    Ok(claims)
}
