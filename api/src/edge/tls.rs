//! TLS of the listener: certificate and key from files, read again when asked.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The key can be read by others.
    #[error(
        "the key {path} can be read by others (mode {mode:03o}); set it right with `chmod 600 {path}`"
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Certificate and key are no pair, or cannot be used.
    #[error("the certificate {cert} and the key {key} cannot be used: {why}")]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        why: rustls::Error,
    },
}

/// Accepts TLS. Cheap to clone; clones share what was read.
#[derive(Clone)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files (PEM). The key must be its owner's alone.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(Arc::new(read(cert, key)?)));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current })
    }

    /// Reads the files again. When they cannot be used, what was read before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.cert, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let unreadable = |path: &Path, why: String| TlsError::Unreadable { path: path.to_owned(), why };
    let mode = std::fs::metadata(key).map_err(|why: io::Error| unreadable(key, why.to_string()))?;
    let mode = mode.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Exposed { path: key.to_owned(), mode });
    }
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unreadable(cert, why.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(cert, "there is no certificate in it".to_owned()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|why| unreadable(key, why.to_string()))?;
    let unusable = |why| TlsError::Unusable { cert: cert.to_owned(), key: key.to_owned(), why };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
